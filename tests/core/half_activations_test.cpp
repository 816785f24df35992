#include <doctest/doctest.h>

#include "core/op.h"

namespace fse {
namespace {

LayerSpec small_layer(DType dtype) {
  LayerSpec layer;
  layer.hidden = 64;
  layer.intermediate = 32;
  layer.routing.experts = 8;
  layer.routing.top_k = 2;
  layer.shared = {.count = 1, .shared_width = 32};
  layer.dtype = dtype;
  return layer;
}

LayerPlan plan_for(DType dtype, bool half) {
  const LayerSpec layer = small_layer(dtype);
  const DeviceInfo device{
      .name = "test", .dtypes = {DType::f32, DType::bf16, DType::f16}, .half_activations = half};
  return make_plan(layer, make_shard(layer, 1, 0), Variant{}, 3, device);
}

TEST_CASE("a device decides how activations are stored, never how routing is") {
  const LayerPlan cpu = plan_for(DType::bf16, false);
  const LayerPlan bf16 = plan_for(DType::bf16, true);
  const LayerPlan f16 = plan_for(DType::f16, true);
  for (Buf id : {Buf::x, Buf::h, Buf::y, Buf::shared_h, Buf::shared_out, Buf::out}) {
    CAPTURE(to_name(id));
    CHECK(cpu.find(id)->element == Element::f32);
    CHECK(bf16.find(id)->element == Element::bf16);
    CHECK(f16.find(id)->element == Element::f16);
    CHECK(bf16.find(id)->bytes() * 2 == cpu.find(id)->bytes());
  }
  for (Buf id : {Buf::router_logits, Buf::scores, Buf::topk_weights})
    CHECK(bf16.find(id)->element == Element::f32);
  CHECK(bf16.find(Buf::topk_ids)->element == Element::i32);
}

TEST_CASE("storing a result in 16 bits widens its bound by half a unit in the last place") {
  const LayerPlan cpu = plan_for(DType::bf16, false);
  const LayerPlan bf16 = plan_for(DType::bf16, true);
  const LayerPlan f16 = plan_for(DType::f16, true);
  for (size_t i = 0; i < cpu.steps.size(); ++i) {
    const Step& step = cpu.steps[i];
    CAPTURE(step.name);
    const auto bound = op_def(step.op).tolerance;
    const bool stores = step.op >= Op::grouped_stage1;
    CHECK(bound(bf16, step) - bound(cpu, step) == doctest::Approx(stores ? 0x1p-8 : 0));
    CHECK(bound(f16, step) - bound(cpu, step) == doctest::Approx(stores ? 0x1p-11 : 0));
  }
}

}  // namespace
}  // namespace fse
