#include "core/variant.h"

#include <doctest/doctest.h>

using namespace fse;

namespace {

const DeviceInfo kCpu{
    .name = "cpu", .kind = "cpu", .dtypes = {DType::f32, DType::bf16, DType::fp8_block128}};

LayerSpec gated() {
  LayerSpec layer;
  layer.hidden = 64;
  layer.intermediate = 32;
  layer.routing = {.experts = 8, .top_k = 2};
  layer.shared = {.count = 1, .shared_width = 32, .weight = SharedWeight::sigmoid_gate};
  return layer;
}

int legal_count(const LayerSpec& layer, const DeviceInfo& device) {
  int legal = 0;
  for (const Variant& variant : all_variants()) legal += check(layer, variant, device).empty();
  return legal;
}

}  // namespace

TEST_CASE("a gated layer has 2 gates x 2 topks x 3 shared forms on the cpu") {
  CHECK(legal_count(gated(), kCpu) == 12);
}

TEST_CASE("without a shared gate the gate cannot be fused") {
  LayerSpec layer = gated();
  layer.shared.weight = SharedWeight::constant;
  CHECK(legal_count(layer, kCpu) == 6);
  const auto reasons = check(layer, {.gate = Gate::fused}, kCpu);
  REQUIRE(reasons.size() == 1);
  CHECK(reasons[0] == "gate=fused: the layer has no shared gate to fuse");
}

TEST_CASE("without a shared expert only shared=none is legal") {
  LayerSpec layer = gated();
  layer.shared = {};
  CHECK(legal_count(layer, kCpu) == 2);
  CHECK(check(layer, {.shared = Shared::slot}, kCpu).front() ==
        "shared=slot: the layer has no shared expert");
  CHECK(check(gated(), {.shared = Shared::none}, kCpu).front() ==
        "shared=none: the layer has a shared expert");
}

TEST_CASE("every reason is given, not only the first") {
  LayerSpec layer = gated();
  layer.dtype = DType::f16;
  const Variant variant{.experts = Experts::fused, .launch = Launch::graph};
  CHECK(check(layer, variant, kCpu).size() == 6);
}

TEST_CASE("a device with graphs runs every variant twice, and one cooperatively") {
  DeviceInfo gpu = kCpu;
  gpu.graph = gpu.experts_fused = true;
  CHECK(legal_count(gated(), gpu) == 2 * (12 + 1));
  CHECK(
      check(gated(), {.gate = Gate::fused, .topk = Topk::fused, .experts = Experts::fused}, gpu) ==
      std::vector<std::string>{
          "experts=fused: the shared expert is one of its experts, expected shared=slot"});
}

TEST_CASE("variants are named by their axes") {
  const Variant variant{.gate = Gate::fused, .topk = Topk::fused, .shared = Shared::slot};
  CHECK(to_label(variant) == "fused/fused/slot/staged/stream");
  CHECK(to_text(variant) == "gate=fused topk=fused shared=slot experts=staged launch=stream");
  CHECK(all_variants().size() == 64);
}
