// Experts whose elements lie beyond 2^31 and 2^32 on a GPU: an offset kept in 32 bits anywhere on
// the way to them reads other weights. Part of the suite `gpu`; says so where there is no GPU.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "core/op.h"
#include "core/weights_layout.h"
#include "core/workload.h"
#include "kernels/backend.h"
#include "tests/kernels/cpu_fixture.h"

namespace fse {
namespace {

// 2^22 elements of `down` and 2^23 of gate_up an expert, a byte each: gate_up passes 2^31 with
// expert 256 and 2^32 with 512, down passes 2^31 with 512.
constexpr int kIntermediate = 1024, kHidden = 4096, kExperts = 600;
constexpr int kUsed[] = {0, 255, 256, 511, 512, 513, 598, 599};
constexpr int kUsedCount = 8;

LayerSpec layer_of(int experts) {
  LayerSpec layer =
      test::layer_of({kHidden, kIntermediate, experts, 4, kIntermediate}, DType::fp8_block128);
  layer.shared.weight = SharedWeight::constant;
  return layer;
}

// The experts of `few` at the ids in kUsed, its shared expert behind all; every other expert, and
// its row of the router, is zero: memory that is never touched.
LayerWeights spread_out(const LayerWeights& few) {
  const LayerSpec layer = layer_of(kExperts);
  const Shard shard = make_shard(layer, 1, 0);
  const WeightsLayout layout = weights_layout(layer, shard);
  LayerWeights many = view_weights(layer, shard, allocate_weights(layout, layout.indices, 1), 0, 0);
  const int64_t router_row = layout.router_bytes / layout.router_rows;
  const auto copy = [&](int from, int to) {
    for (Projection p : {Projection::gate, Projection::up, Projection::down})
      pack(unpack(few, p, from), p, to, many);
  };
  for (int i = 0; i < kUsedCount; ++i) {
    copy(i, kUsed[i]);
    std::copy_n(few.router + i * router_row, router_row,
                writable(many.router) + kUsed[i] * router_row);
  }
  copy(kUsedCount, kExperts);
  return many;
}

TEST_SUITE("gpu") {
  TEST_CASE("a GPU reads the experts beyond 2^31 and 2^32 elements that it is asked for") {
    if (device_names().front() == "cpu") {
      MESSAGE("SKIPPED: no GPU can be used here");
      return;
    }
    const auto backend =
        open_backend(device_names().front(), {.device_dir = FSELAB_SOURCE_DIR "/kernels/device",
                                              .cache_dir = FSELAB_TEST_CACHE,
                                              .compile_threads = 8});
    const LayerSpec small = layer_of(kUsedCount);
    const LayerWeights few = random_weights(small, make_shard(small, 1, 0), 43).front();
    const LayerWeights many = spread_out(few);
    const int tokens = 8;
    const auto x = random_input(tokens, kHidden, 3);
    for (const Variant& variant : all_variants()) {
      if (!check(many.layer, variant, backend->device()).empty()) continue;
      CAPTURE(to_label(variant));
      const LayerPlan plan = make_plan(many.layer, many.shard, variant, tokens, backend->device());
      const auto session = backend->open(plan, {many});
      session->set_input(x);
      session->poison_buffers();
      session->run(default_choices(plan, backend->device()), 0);
      const Matrix ids = session->read(Buf::topk_ids);
      CHECK(ids.leftCols(4).maxCoeff() >= 598);
      const Matrix input =
          Eigen::Map<const Eigen::Matrix<float, -1, -1, Eigen::RowMajor>>(x.data(), tokens, kHidden)
              .cast<double>();
      const Matrix want = run_reference(plan, many, input, &ids)[Buf::out];
      const Matrix got = session->read(Buf::out);
      REQUIRE(got.allFinite());
      CHECK((got - want).norm() < layer_tolerance(plan) * want.norm());
    }
  }
}

}  // namespace
}  // namespace fse
