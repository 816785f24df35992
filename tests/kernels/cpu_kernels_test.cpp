#include <doctest/doctest.h>

#include <set>

#include "tests/kernels/cpu_fixture.h"

using namespace fse;
using fse::test::CpuLayer;
using fse::test::layer_of;
using fse::test::Shape;

namespace {

const DType kDTypes[] = {DType::f32, DType::bf16, DType::f16, DType::fp8_block128};

// Every kernel and every tile of every step of this variant, each against the reference.
void check_all_tiles(CpuLayer& layer) {
  const DeviceInfo& device = layer.device;
  for (int i = 0; i < static_cast<int>(layer.plan.steps.size()); ++i) {
    const Step& step = layer.plan.steps[static_cast<size_t>(i)];
    const RefState want = layer.expected(step);
    for (const KernelDef* kernel : kernels_for(step.op, "cpu"))
      for (const Tile& tile : tiles(*kernel, layer.plan, step, device))
        CHECK(layer.try_kernel(i, {kernel, tile}, want) == "");
  }
}

std::vector<Variant> legal_variants(const LayerSpec& layer, const DeviceInfo& device) {
  std::vector<Variant> legal;
  for (const Variant& v : all_variants())
    if (check(layer, v, device).empty()) legal.push_back(v);
  return legal;
}

}  // namespace

TEST_CASE("every tile of every step agrees with the reference") {
  // Ragged against vectors, blocks and scale blocks alike; experts that are not a power of two.
  const Shape shapes[] = {
      {80, 24, 10, 4, 48}, {320, 192, 8, 2, 192}, {136, 48, 60, 4, 100}, {256, 128, 16, 4, 128}};
  const int tokens[] = {1, 5, 33, 2};
  const int threads[] = {2, 1, 1, 3};
  for (DType dtype : kDTypes)
    for (size_t i = 0; i < 4; ++i) {
      CAPTURE(to_name(dtype));
      CAPTURE(i);
      const LayerSpec layer = layer_of(shapes[i], dtype);
      CpuLayer slot(layer, {.gate = Gate::fused, .topk = Topk::fused, .shared = Shared::slot},
                    tokens[i], threads[i]);
      check_all_tiles(slot);
      CpuLayer mlp(layer, {.shared = Shared::mlp}, tokens[i], threads[i]);
      check_all_tiles(mlp);
    }
}

TEST_CASE("whole layers agree with the reference for every variant and expert count") {
  const auto backend = open_backend("cpu");
  for (int experts : {8, 16, 60, 160, 512})
    for (int tokens : {1, 2, 17}) {
      const Shape shape{48, 16, experts, 4, 24};
      for (const Variant& v : legal_variants(layer_of(shape, DType::bf16), backend->device())) {
        CAPTURE(experts);
        CAPTURE(to_label(v));
        CpuLayer layer(layer_of(shape, DType::bf16), v, tokens, 2);
        layer.session->poison_buffers();
        layer.session->run(default_choices(layer.plan, backend->device()), 0);
        CHECK(layer.session->read(Buf::topk_ids) == layer.reference[Buf::topk_ids]);
        CHECK(test::relative_error(layer.session->read(Buf::out), layer.reference[Buf::out]) <=
              layer_tolerance(layer.plan));
      }
    }
}

TEST_CASE("layers without, with constant and with several shared experts") {
  for (auto [width, slots] : {std::pair{0, 0}, {24, 1}, {56, 3}})
    for (SharedWeight weight : {SharedWeight::constant, SharedWeight::sigmoid_gate}) {
      LayerSpec spec = layer_of({80, 24, 10, 4, width}, DType::f32);
      spec.shared.weight = weight;
      spec.shared.constant = 0.75;
      const auto backend = open_backend("cpu");
      for (const Variant& v : legal_variants(spec, backend->device())) {
        CAPTURE(to_label(v));
        CpuLayer layer(spec, v, 3, 2);
        CHECK(layer.plan.shard.slots == slots);
        layer.session->poison_buffers();
        layer.session->run(default_choices(layer.plan, backend->device()), 0);
        CHECK(test::relative_error(layer.session->read(Buf::out), layer.reference[Buf::out]) <=
              layer_tolerance(layer.plan));
      }
    }
}

TEST_CASE("overlapped equals serial bit for bit") {
  const LayerSpec spec = layer_of({320, 192, 16, 4, 192}, DType::bf16);
  for (int tokens : {1, 16, 33}) {
    CpuLayer serial(spec, {.shared = Shared::mlp}, tokens, 2);
    CpuLayer overlapped(spec, {.shared = Shared::mlp_overlapped}, tokens, 2);
    for (int round = 0; round < 20; ++round) {
      for (CpuLayer* layer : {&serial, &overlapped}) {
        layer->session->poison_buffers();
        const RunTimes times = layer->session->run(default_choices(layer->plan, layer->device), 0);
        CHECK(times.step_us.size() == layer->plan.steps.size());
        CHECK(times.layer_us > 0);
      }
      REQUIRE(serial.session->read(Buf::out) == overlapped.session->read(Buf::out));
    }
  }
}

TEST_CASE("one expert takes all, others are empty") {
  const LayerSpec spec = layer_of({80, 24, 16, 1, 0}, DType::f32);
  CpuLayer layer(spec, {.shared = Shared::none}, 33);
  layer.reference[Buf::topk_ids].setConstant(11);
  for (int i = 0; i < static_cast<int>(layer.plan.steps.size()); ++i) {
    const Step& step = layer.plan.steps[static_cast<size_t>(i)];
    if (step.op == Op::select || step.op == Op::topk) continue;
    const RefState want = layer.expected(step);
    for (const KernelDef* kernel : kernels_for(step.op, "cpu"))
      for (const Tile& tile : tiles(*kernel, layer.plan, step, layer.device))
        CHECK(layer.try_kernel(i, {kernel, tile}, want) == "");
    for (Buf id : step.writes) layer.reference[id] = want[id];
  }
}

TEST_CASE("ids outside the experts are empty pairs") {
  const LayerSpec spec = layer_of({80, 24, 10, 4, 24}, DType::bf16);
  CpuLayer layer(spec, {.shared = Shared::slot}, 7);
  Matrix& ids = layer.reference[Buf::topk_ids];
  const double bad[] = {-1, 11, 12, 1e9, -2147483648.0, 2147483647.0};
  for (Eigen::Index i = 0; i < 12; ++i) ids(i % 7, i % 4) = bad[i % 6];
  ids.row(3).setConstant(-1);
  for (int i = 0; i < static_cast<int>(layer.plan.steps.size()); ++i) {
    const Step& step = layer.plan.steps[static_cast<size_t>(i)];
    if (step.op != Op::dispatch && step.op != Op::grouped_stage1 && step.op != Op::grouped_stage2 &&
        step.op != Op::combine)
      continue;
    const RefState want = layer.expected(step);
    for (const KernelDef* kernel : kernels_for(step.op, "cpu"))
      for (const Tile& tile : tiles(*kernel, layer.plan, step, layer.device)) {
        layer.session->poison_buffers();
        for (Buf id : step.reads) layer.session->write(id, layer.reference[id]);
        layer.session->run_step(i, {kernel, tile}, 0);
        for (Buf id : step.writes) {
          Matrix got = layer.session->read(id);
          // Rows of h and y that belong to no valid pair are nobody's.
          for (Eigen::Index r = 0; r < got.rows() && (id == Buf::h || id == Buf::y); ++r)
            if (want[id].row(r).isZero(0)) got.row(r).setZero();
          CAPTURE(kernel->name);
          CHECK(test::relative_error(got, want[id]) <= op_def(step.op).tolerance(layer.plan, step));
        }
      }
    for (Buf id : step.writes) layer.reference[id] = want[id];
  }
}
