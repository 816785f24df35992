#pragma once
#include <vector>

#include "core/case.h"
#include "core/weights.h"
#include "core/workload.h"

namespace fse {

// What a layer is measured on: weight sets to rotate over, and inputs that route as named.
struct Workload {
  std::vector<LayerWeights> sets;
  std::vector<std::vector<float>> inputs;  // cycled over the rounds
  Cache cache = Cache::cold_weights;       // what is evicted before a run
};

// How many weight sets a layer is rotated over, and what lacks when memory is short. The router is
// the smallest weight that a step reads: it decides, so that each step alone finds its weights
// cold.
struct Rotation {
  int sets = 1;
  int64_t shortfall_bytes = 0;
};
Rotation plan_rotation(const LayerSpec&, const Shard&, const DeviceInfo&, Cache);

inline constexpr int64_t kMostInputBytes = int64_t{256} << 20;
// `rounds` inputs, fewer (but two) where they would take more than kMostInputBytes.
std::vector<std::vector<float>> make_inputs(const LayerWeights&, const RoutingDistribution&,
                                            int tokens, uint64_t seed, int rounds);

}  // namespace fse
