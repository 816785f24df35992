#include "tuner/calibration_ways.h"

#include "core/layer_cost.h"

namespace fse {

LayerSpec small_layer(const DeviceInfo& info, const CalibrationSpec& spec, DType dtype,
                      int experts) {
  const bool cpu = info.kind == "cpu";
  LayerSpec layer{.model = "calibration",
                  .hidden = spec.hidden.empty() ? (cpu ? 1024 : 2048) : spec.hidden.front(),
                  .intermediate = spec.intermediate.empty() ? 256 : spec.intermediate.front()};
  layer.routing = {.experts = experts, .top_k = 8, .renormalize = true};
  layer.shared = {
      .count = 1, .shared_width = layer.intermediate, .weight = SharedWeight::sigmoid_gate};
  layer.dtype = dtype;
  return layer;
}

Variant variant_of(const Way& way, const DeviceInfo& info) {
  return {.gate = way.gate,
          .topk = way.topk,
          .shared = way.shared,
          .experts = way.experts,
          .launch = info.graph ? Launch::graph : Launch::stream};
}

LayerPlan plan_of(const LayerPoint& point, const DeviceInfo& info, const CalibrationSpec& spec) {
  const LayerSpec layer = small_layer(info, spec, point.dtype, point.experts);
  return make_plan(layer, measured_shard(layer, 1), point.variant, point.tokens, info);
}

double busy_us(const LayerPoint& point, DeviceModel d, const DeviceInfo& info,
               const CalibrationSpec& spec) {
  for (double DeviceModel::*us :
       {&DeviceModel::launch_us, &DeviceModel::stream_us, &DeviceModel::dependent_us,
        &DeviceModel::plain_us, &DeviceModel::ramp_us, &DeviceModel::touch_us,
        &DeviceModel::stage_us, &DeviceModel::stage_fp8_us, &DeviceModel::fused_us,
        &DeviceModel::fused_fp8_us, &DeviceModel::barrier_us, &DeviceModel::event_us})
    d.*us = 0;
  return end_us(layer_cost(plan_of(point, info, spec), d, realised_batch(d, point.load)));
}

}  // namespace fse
