#pragma once
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "core/case.h"
#include "core/weights.h"
#include "core/workload.h"

namespace fse {

// The inputs of rounds that go on behind the first ones: each is drawn when it comes, so that no
// round repeats another's routing, and kept until the next, for all variants that run it.
class LaterInputs {
 public:
  explicit LaterInputs(std::function<std::vector<float>(int round)> draw)
      : draw_(std::move(draw)) {}
  const std::vector<float>& of(int round);

 private:
  std::function<std::vector<float>(int)> draw_;
  int round_ = -1;
  std::vector<float> x_;
};

// What a layer is measured on: weight sets to rotate over, and inputs that route as named.
struct Workload {
  std::vector<LayerWeights> sets;
  std::vector<std::vector<float>> inputs;   // of the first rounds
  Cache cache = Cache::cold_weights;        // what is evicted before a run
  std::shared_ptr<LaterInputs> later = {};  // nullptr: later rounds begin with `inputs` again

  const std::vector<float>& input(int round) const {
    const auto r = static_cast<size_t>(round);
    return r < inputs.size() || !later ? inputs[r % inputs.size()] : later->of(round);
  }
};

// How many weight sets a layer is rotated over, and what lacks when memory is short. The router is
// the smallest weight that a step reads: it decides, so that each step alone finds its weights
// cold.
struct Rotation {
  int sets = 1;
  int64_t shortfall_bytes = 0;
};
Rotation plan_rotation(const LayerSpec&, const Shard&, const DeviceInfo&, Cache);

// The input of one round: fresh ids from the distribution, planted.
std::vector<float> make_input(const LayerWeights&, const RoutingDistribution&, int tokens,
                              uint64_t seed, int round);

inline constexpr int64_t kMostInputBytes = int64_t{256} << 20;
// Those of the first `rounds` rounds, fewer (but two) where they would take more than
// kMostInputBytes: batches so large reach the same experts whatever is drawn.
std::vector<std::vector<float>> make_inputs(const LayerWeights&, const RoutingDistribution&,
                                            int tokens, uint64_t seed, int rounds);

}  // namespace fse
