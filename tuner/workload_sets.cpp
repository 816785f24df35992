#include "tuner/workload_sets.h"

#include <algorithm>

#include "core/plan.h"

namespace fse {

Rotation plan_rotation(const LayerSpec& layer, const Shard& shard, const DeviceInfo& device,
                       Cache cache) {
  if (cache == Cache::warm) return {};
  constexpr int kMostSets = 64;  // tiny layers fit into any cache: more copies teach nothing new
  const int64_t router = (layer.routing.experts + layer.gate_rows()) * int64_t{layer.hidden} *
                         element_bytes(router_dtype(layer));
  const int wanted = sets_for_rotation(router, device.llc_bytes, cache);
  int sets = std::min(wanted, kMostSets);
  // A third of memory stays free for buffers, the reference and the rest of the machine.
  const int64_t allowed = device.memory_bytes / 3 * 2;
  while (sets > 2 && random_weights_bytes(layer, shard, sets) > allowed) --sets;
  const int64_t covered = int64_t{sets - 1} * router;
  return {.sets = sets, .shortfall_bytes = std::max<int64_t>(0, 2 * device.llc_bytes - covered)};
}

const std::vector<float>& LaterInputs::of(int round) {
  if (round != round_) x_ = draw_(round);
  round_ = round;
  return x_;
}

std::vector<float> make_input(const LayerWeights& weights, const RoutingDistribution& routing,
                              int tokens, uint64_t seed, int round) {
  const uint64_t round_seed = seed * 1000003 + static_cast<uint64_t>(round);
  return plant_input(weights, draw_routing(weights.layer, routing, tokens, round_seed), round_seed);
}

std::vector<std::vector<float>> make_inputs(const LayerWeights& weights,
                                            const RoutingDistribution& routing, int tokens,
                                            uint64_t seed, int rounds) {
  const int64_t one = int64_t{tokens} * weights.layer.hidden * 4;
  const auto count = std::clamp<int64_t>(kMostInputBytes / one, 2, std::max(rounds, 2));
  std::vector<std::vector<float>> inputs;
  for (int i = 0; i < static_cast<int>(count); ++i)
    inputs.push_back(make_input(weights, routing, tokens, seed, i));
  return inputs;
}

}  // namespace fse
