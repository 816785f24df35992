#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <string>

#include "core/error.h"
#include "core/op.h"
#include "core/outcome.h"
#include "core/workload.h"
#include "kernels/backend.h"
#include "kernels/gpu/layer.h"

// Needs a GPU; says so where there is none. Run alone: test_kernels --test-suite=gpu
namespace fse {
namespace {

std::unique_ptr<Backend> open_gpu() {
  const std::vector<std::string> names = device_names();
  if (names.front() == "cpu") {
    MESSAGE("SKIPPED: no GPU can be used here");
    return nullptr;
  }
  return open_backend(names.front(), {.device_dir = FSELAB_SOURCE_DIR "/kernels/device",
                                      .cache_dir = FSELAB_TEST_CACHE,
                                      .compile_threads = 8});
}

LayerSpec layer_of(DType dtype, int hidden, int intermediate) {
  LayerSpec layer;
  layer.hidden = hidden;
  layer.intermediate = intermediate;
  layer.routing = {.experts = 24, .top_k = 4, .renormalize = true, .scaling = 2.5};
  layer.shared = {
      .count = 1, .shared_width = 2 * intermediate, .weight = SharedWeight::sigmoid_gate};
  layer.dtype = dtype;
  return layer;
}

Matrix as_matrix(const std::vector<float>& x, int rows) {
  return Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(
             x.data(), rows, static_cast<Eigen::Index>(x.size()) / rows)
      .cast<double>();
}

// Relative error of `out` against the reference on the ids that the device chose.
double layer_error(Session& session, const LayerPlan& plan, const LayerWeights& weights,
                   const std::vector<float>& x) {
  const Matrix ids = session.read(Buf::topk_ids);
  const RefState want = run_reference(plan, weights, as_matrix(x, plan.tokens), &ids);
  const Matrix got = session.read(Buf::out);
  REQUIRE(got.allFinite());
  return (got - want[Buf::out]).norm() / want[Buf::out].norm();
}

TEST_SUITE("gpu") {
  TEST_CASE("every legal variant matches the reference, eager and captured, on any weight set") {
    const auto backend = open_gpu();
    if (!backend) return;
    int ran = 0;
    for (DType dtype : {DType::bf16, DType::f16, DType::fp8_block128}) {
      const LayerSpec layer = layer_of(dtype, 256, 128);
      const Shard shard = make_shard(layer, 1, 0);
      const auto sets = random_weights(layer, shard, 7, 3);
      for (const Variant& variant : all_variants()) {
        if (!check(layer, variant, backend->device()).empty()) continue;
        for (int tokens : {1, 5, 40}) {
          CAPTURE(to_label(variant));
          CAPTURE(to_name(dtype));
          CAPTURE(tokens);
          const LayerPlan plan = make_plan(layer, shard, variant, tokens, backend->device());
          const auto x = random_input(tokens, layer.hidden, 3);
          const auto choices = default_choices(plan, backend->device());
          const auto session = backend->open(plan, sets);
          session->poison_buffers();
          session->set_input(x);
          for (int set : {0, 2}) {
            const RunTimes times = session->run(choices, set);
            CHECK(times.layer_us > 0);
            CHECK(times.step_us.size() == plan.steps.size());
            CHECK(layer_error(*session, plan, sets[static_cast<size_t>(set)], x) <
                  layer_tolerance(plan));
          }
          ++ran;
        }
      }
    }
    MESSAGE(ran << " layers on " << backend->device().product);
  }

  TEST_CASE("kernels that start while their predecessor ends give the same answer") {
    const auto backend = open_gpu();
    if (!backend || !backend->device().dependent_launch) return;
    const LayerSpec layer = layer_of(DType::bf16, 256, 128);
    const Shard shard = make_shard(layer, 1, 0);
    const auto sets = random_weights(layer, shard, 7, 2);
    const auto x = random_input(5, layer.hidden, 3);
    for (const Variant& variant : all_variants()) {
      if (!check(layer, variant, backend->device()).empty()) continue;
      CAPTURE(to_label(variant));
      const LayerPlan plan = make_plan(layer, shard, variant, 5, backend->device());
      const auto session = backend->open(plan, sets);
      session->set_input(x);
      auto choices = default_choices(plan, backend->device());
      session->run(choices, 1);
      const Matrix alone = session->read(Buf::out);
      for (Choice& choice : choices)
        for (auto& [axis, value] : choice.tile.axes)
          if (axis == "dependent") value = 1;
      for (int repeat = 0; repeat < 10; ++repeat) {
        session->run(choices, 1);
        CHECK(session->read(Buf::out) == alone);  // bit for bit
      }
    }
  }

  TEST_CASE("a step alone is run once as far as its buffers show") {
    const auto backend = open_gpu();
    if (!backend) return;
    const LayerSpec layer = layer_of(DType::bf16, 256, 128);
    const Shard shard = make_shard(layer, 1, 0);
    const auto sets = random_weights(layer, shard, 7, 2);
    const LayerPlan plan = make_plan(layer, shard, {}, 9, backend->device());
    const auto session = backend->open(plan, sets);
    const auto x = random_input(9, layer.hidden, 3);
    const auto choices = default_choices(plan, backend->device());
    session->set_input(x);
    session->poison_buffers();
    for (size_t i = 0; i < plan.steps.size(); ++i)
      CHECK(session->run_step(static_cast<int>(i), choices[i], 1) > 0);
    CHECK(layer_error(*session, plan, sets[1], x) < layer_tolerance(plan));
  }

  TEST_CASE("buffers keep what is written, rounded to their element") {
    const auto backend = open_gpu();
    if (!backend) return;
    const LayerSpec layer = layer_of(DType::bf16, 256, 128);
    const Shard shard = make_shard(layer, 1, 0);
    const LayerPlan plan = make_plan(layer, shard, {}, 2, backend->device());
    const auto session = backend->open(plan, random_weights(layer, shard, 7, 1));
    for (const Buffer& b : plan.buffers) {
      CAPTURE(to_name(b.id));
      Matrix values(b.rows, b.cols);
      for (int64_t i = 0; i < values.size(); ++i) values.data()[i] = static_cast<double>(i % 97);
      session->write(b.id, values);
      CHECK(session->read(b.id) == values);  // small whole numbers are exact in every element
    }
    session->poison_buffers();
    CHECK(session->read(Buf::x)(0, 1) == 1);  // the input stays
    CHECK(std::isnan(session->read(Buf::out)(1, 255)));
    CHECK(session->read(Buf::topk_ids)(0, 0) == -1);
  }

  TEST_CASE("what a device cannot do is an outcome with its reason") {
    const auto backend = open_gpu();
    if (!backend) return;
    const LayerSpec layer = layer_of(DType::bf16, 256, 128);
    const Shard shard = make_shard(layer, 1, 0);
    const LayerPlan plan = make_plan(layer, shard, {}, 2, backend->device());
    const auto session = backend->open(plan, random_weights(layer, shard, 7, 1));
    auto choices = default_choices(plan, backend->device());
    for (auto& [axis, value] : choices[0].tile.axes)
      if (axis == "warps") value = 5;
    try {
      session->run_step(0, choices[0], 0);
      FAIL("an illegal tile ran");
    } catch (const AttemptError& e) {
      CHECK(e.status == Status::illegal);
      CHECK(std::string(e.what()).find("warps") != std::string::npos);
    }
    session->set_input(random_input(2, layer.hidden, 1));
    const RunTimes times = session->run(default_choices(plan, backend->device()), 0);
    CHECK(times.layer_us > 0);  // the session is none the worse
  }

  TEST_CASE("rates are those of a GPU") {
    const auto backend = open_gpu();
    if (!backend) return;
    const double read = backend->measure_read_gbs(), peak = backend->measure_peak_gflops();
    MESSAGE(backend->device().product << ": " << read << " GB/s, " << peak << " GFLOP/s");
    CHECK(read > 50);
    CHECK(peak > 1000);
  }
}

}  // namespace
}  // namespace fse
