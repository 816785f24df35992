#include "tuner/hostile.h"

#include <algorithm>
#include <limits>

#include "core/workload.h"

namespace fse {
namespace {

constexpr uint64_t kSeed = 0x686f7374;  // no sweep's

std::vector<float> one_takes_all(const LayerWeights& weights, int tokens) {
  const Matrix row = draw_routing(weights.layer, {}, 1, kSeed);
  return plant_input(weights, row.replicate(tokens, 1), kSeed);
}

std::vector<float> hostile_rows(const LayerWeights& weights, int tokens) {
  const Matrix ids = draw_routing(weights.layer, {}, tokens, kSeed + 1);
  std::vector<float> x = plant_input(weights, ids, kSeed + 1);
  const auto hidden = static_cast<std::ptrdiff_t>(weights.layer.hidden);
  if (tokens > 1) std::fill(x.end() - hidden, x.end(), std::numeric_limits<float>::quiet_NaN());
  std::fill(x.begin(), x.begin() + hidden, 0.0f);
  return x;
}

}  // namespace

std::vector<HostileInput> hostile_inputs(std::span<const LayerWeights> sets, int tokens) {
  const LayerWeights& weights = sets.back();
  const int set = static_cast<int>(sets.size()) - 1;
  return {{"one expert takes all", one_takes_all(weights, tokens), set},
          {"hostile rows", hostile_rows(weights, tokens), set}};
}

}  // namespace fse
