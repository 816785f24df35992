#include "kernels/gpu/dispatch_cost.h"

#include <algorithm>
#include <cmath>

namespace fse {
namespace {

constexpr double kPredecessorUs = 0.2;  // what a dependent launch hides
// One block sorts all pairs.
constexpr double kLoneUs = 2.1;
constexpr double kLoneTurnUs = 0.5;   // a wave's pairs, counted and then placed
constexpr double kLoneWarpUs = 0.03;  // its counters of all experts
// Blocks for a few experts each.
constexpr double kBlocksUs = 0.9;
constexpr double kBlockUs = 4e-4;                        // to start one
constexpr double kGroupUs = 0.3, kGroupExpertUs = 0.09;  // four turns, whose ids come together
constexpr double kPrefixUs = 0.012;                      // a count that is added up
constexpr double kFullUs = 0.4, kWaitUs = 3;             // all units full of warps; and once more
constexpr int kUnitWarps = 64;

}  // namespace

double predicted_dispatch_us(gpu::DispatchTile t, gpu::Sizes n, gpu::Limits d) {
  const int pairs = n.tokens * n.choices;
  const double start = t.dependent ? -kPredecessorUs : 0;
  const double turns = gpu::ceil_div(pairs, d.wave * t.warps);
  if (t.experts == 0) return start + kLoneUs + kLoneTurnUs * turns + kLoneWarpUs * t.warps;
  const double blocks = gpu::ceil_div(n.expert_count, t.experts);
  const double full = blocks * t.warps / (d.compute_units * kUnitWarps);
  return start + kBlocksUs + kBlockUs * blocks +
         std::ceil(turns / 4) * (kGroupUs + kGroupExpertUs * t.experts) +
         kPrefixUs * t.experts * t.warps + kFullUs * full +
         kWaitUs * std::max(0.0, std::ceil(full) - 1);
}

}  // namespace fse
