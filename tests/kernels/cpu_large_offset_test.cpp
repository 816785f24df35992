// Experts whose elements lie beyond 2^31 and 2^32: an offset kept in 32 bits anywhere on the way to
// them reads other weights.
#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>

#include "core/weights_layout.h"
#include "tests/kernels/cpu_fixture.h"

using namespace fse;

namespace {

// 1024 * 256 = 2^18 elements of `down` and 2^19 of gate_up an expert, a byte each. gate_up passes
// 2^31 with expert 4096 and 2^32 with 8192, down passes 2^31 with 8192.
constexpr int kIntermediate = 1024, kHidden = 256, kExperts = 8200;
constexpr int kUsed[] = {0, 1, 4095, 4096, 8191, 8192, 8199};
constexpr int kUsedCount = 7;

LayerSpec layer_of(int experts) {
  LayerSpec layer =
      test::layer_of({kHidden, kIntermediate, experts, 1, kIntermediate}, DType::fp8_block128);
  layer.shared.weight = SharedWeight::constant;
  return layer;
}

void copy_expert(const LayerWeights& from, int expert, LayerWeights& to, int target) {
  for (Projection p : {Projection::gate, Projection::up, Projection::down})
    pack(unpack(from, p, expert), p, target, to);
}

// The experts of `few` at the ids in kUsed, its shared expert behind all. Nothing else is written:
// the memory in between is never there, and reads as zero.
LayerWeights spread_out(const LayerWeights& few) {
  const LayerSpec layer = layer_of(kExperts);
  const Shard shard = make_shard(layer, 1, 0);
  const WeightsLayout layout = weights_layout(layer, shard);
  LayerWeights many = view_weights(layer, shard, allocate_weights(layout, layout.indices, 1), 0, 0);
  const int64_t router_row = layout.router_bytes / layout.router_rows;
  for (int i = 0; i < kUsedCount; ++i) {
    copy_expert(few, i, many, kUsed[i]);
    std::copy_n(few.router + i * router_row, router_row,
                writable(many.router) + kUsed[i] * router_row);
  }
  copy_expert(few, kUsedCount, many, kExperts);
  return many;
}

int64_t available_bytes() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);)
    if (line.rfind("MemAvailable:", 0) == 0) return std::stoll(line.substr(13)) * 1024;
  return 0;
}

void check_stages(test::CpuLayer& layer) {
  for (int i = 0; i < static_cast<int>(layer.plan.steps.size()); ++i) {
    const Step& step = layer.plan.steps[static_cast<size_t>(i)];
    if (step.op != Op::grouped_stage1 && step.op != Op::grouped_stage2 &&
        step.op != Op::mlp_stage1 && step.op != Op::mlp_stage2)
      continue;
    const RefState want = layer.expected(step);
    for (const KernelDef* kernel : kernels_for(step.op, "cpu"))
      for (const Tile& tile : tiles(*kernel, layer.plan, step, layer.backend->device()))
        CHECK(layer.try_kernel(i, {kernel, tile}, want) == "");
  }
}

}  // namespace

TEST_CASE("experts beyond 2^31 and 2^32 elements are the ones that are read") {
  // 6.4 GB of addresses, of which some 30 MB are used; a system may refuse to promise them.
  if (available_bytes() < 6'000'000'000) {
    MESSAGE("skipped: less than 6 GB of memory are available");
    return;
  }
  const LayerSpec small = layer_of(kUsedCount);
  const LayerWeights few = random_weights(small, make_shard(small, 1, 0), 43).front();
  const LayerWeights many = spread_out(few);
  static_assert(int64_t{kUsed[6]} * kIntermediate * kHidden > int64_t{1} << 31);
  Matrix small_ids(kUsedCount, 1);
  for (int i = 0; i < kUsedCount; ++i) {
    small_ids(i, 0) = i;
    // The reference, too, must not have been fooled.
    REQUIRE(up_matrix(many, kUsed[i]) == up_matrix(few, i));
    REQUIRE(down_matrix(many, kUsed[i]) == down_matrix(few, i));
  }
  const std::vector<float> x = plant_input(few, small_ids, 1);
  for (Shared shared : {Shared::slot, Shared::mlp}) {
    CAPTURE(to_name(shared));
    test::CpuLayer layer(many, {.topk = Topk::fused, .shared = shared}, x);
    for (int i = 0; i < kUsedCount; ++i) REQUIRE(layer.reference[Buf::topk_ids](i, 0) == kUsed[i]);
    layer.session->poison_buffers();
    layer.session->run(default_choices(layer.plan, layer.backend->device()), 0);
    CHECK(layer.session->read(Buf::topk_ids) == layer.reference[Buf::topk_ids]);
    CHECK(test::relative_error(layer.session->read(Buf::out), layer.reference[Buf::out]) <=
          layer_tolerance(layer.plan));
    check_stages(layer);
  }
}
