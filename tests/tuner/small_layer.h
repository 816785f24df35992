#pragma once
#include "core/workload.h"
#include "tuner/workload_sets.h"

namespace fse {

inline const DeviceInfo kTestDevice{.name = "cpu", .kind = "cpu", .dtypes = {DType::f32}};

// Eight experts, two per token, a gated shared expert that is one and a half slots wide.
inline LayerSpec small_layer() {
  LayerSpec layer;
  layer.model = "small";
  layer.hidden = 64;
  layer.intermediate = 16;
  layer.dtype = DType::f32;
  layer.routing = {.experts = 8, .top_k = 2, .renormalize = true, .scaling = 2.5};
  layer.shared = {.count = 1, .shared_width = 24, .weight = SharedWeight::sigmoid_gate};
  return layer;
}

inline Workload small_workload(const LayerSpec& layer, int tokens) {
  Workload workload{.sets = random_weights(layer, make_shard(layer, 1, 0), 1, 2)};
  workload.inputs = make_inputs(workload.sets.front(), {}, tokens, 1, 4);
  return workload;
}

inline std::vector<LayerPlan> legal_plans(const LayerSpec& layer, int tokens) {
  std::vector<LayerPlan> plans;
  for (const Variant& variant : all_variants())
    if (check(layer, variant, kTestDevice).empty())
      plans.push_back(make_plan(layer, make_shard(layer, 1, 0), variant, tokens, kTestDevice));
  return plans;
}

}  // namespace fse
