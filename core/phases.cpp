#include "core/phases.h"

#include <algorithm>
#include <cmath>

#include "core/workload.h"

namespace fse {
namespace {

// Threads of the overlapped stream, by the share of the weights' bytes it reads.
int overlapped_threads(const LayerPlan& plan, int threads) {
  const auto expert = static_cast<double>(plan.shard.intermediate);
  const double routed = expected_distinct(plan.layer.routing, plan.tokens) * expert;
  const double shared = plan.shard.shared.stored();
  const auto wanted = static_cast<int>(std::lround(threads * shared / (routed + shared)));
  return std::clamp(wanted, 1, threads - 1);
}

}  // namespace

std::vector<Phase> make_phases(const LayerPlan& plan, int threads) {
  const auto count = static_cast<int>(plan.steps.size());
  const auto stream = [&](int i) { return plan.steps[static_cast<size_t>(i)].stream; };
  Lane all{{}, threads}, before = all, after = all;
  int first = count, last = count;  // of the overlapped stream
  for (int i = 0; i < count; ++i) {
    all.steps.push_back(i);
    if (stream(i) == 0) continue;
    first = std::min(first, i);
    last = i;
  }
  if (first == count || threads == 1) return {{all}};

  int join = last + 1;
  const auto waits = [&](int i) {
    const std::vector<int>& needs = plan.steps[static_cast<size_t>(i)].after;
    return std::any_of(needs.begin(), needs.end(), [&](int n) { return stream(n) == 1; });
  };
  while (join < count && !waits(join)) ++join;

  const int side_threads = overlapped_threads(plan, threads);
  Lane main{{}, threads - side_threads}, side{{}, side_threads};
  for (int i : all.steps) {
    Lane& lane = i < first ? before : i >= join ? after : stream(i) == 0 ? main : side;
    lane.steps.push_back(i);
  }
  std::vector<Phase> phases;
  for (const Phase& phase : {Phase{before}, Phase{main, side}, Phase{after}})
    if (phase.size() > 1 || !phase[0].steps.empty()) phases.push_back(phase);
  return phases;
}

}  // namespace fse
