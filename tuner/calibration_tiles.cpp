#include "tuner/calibration_tiles.h"

#include <algorithm>
#include <cmath>

#include "core/outcome.h"
#include "core/statistics.h"

namespace fse {
namespace {

// Values to try of an axis beside the default; an axis that is not here keeps that.
std::vector<int> tried(const std::string& axis, int value, bool blocks) {
  if (axis == "dependent") return {value, 1};
  if (axis == "dense") return {value, 1};
  if (axis == "spread") return {value, 2};
  if (axis == "experts") return {value, 1};
  if (axis == "ring" && !blocks) return {value, 6};
  if (axis == "split") return {value, 8, 1};
  if ((axis == "rows" || axis == "columns") && blocks) return {value, 64, 128};
  if (axis == "warps" && blocks) return {value, 8};
  return {value};
}

}  // namespace

std::vector<Choice> calibration_choices(const LayerPlan& plan, size_t step,
                                        const DeviceInfo& info) {
  const Choice base = default_choices(plan, info)[step];
  std::vector<Choice> all{base};
  if (info.kind == "cpu") return all;  // none of its axes is about launches or rings
  const auto& axes = base.tile.axes;
  const bool blocks = std::any_of(axes.begin(), axes.end(),
                                  [](const auto& axis) { return axis.first == "columns"; });
  for (size_t a = 0; a < axes.size(); ++a)
    for (const int value : tried(axes[a].first, axes[a].second, blocks)) {
      const size_t before = all.size();
      for (size_t i = 0; i < before; ++i) {
        Choice changed = all[i];
        changed.tile.axes[a].second = value;
        if (std::find(all.begin(), all.end(), changed) == all.end()) all.push_back(changed);
      }
    }
  std::erase_if(all, [&](const Choice& c) {
    return !c.kernel->legal(c.tile).empty() ||
           !c.kernel->fits(c.tile, plan, plan.steps[step], info).empty();
  });
  return all;
}

Choice fastest_choice(LayerRunner& layer, const LayerPlan& plan, size_t step,
                      std::span<const Choice> at, const DeviceInfo& info) {
  const std::vector<Choice> all = calibration_choices(plan, step, info);
  if (all.size() == 1) return all.front();
  const auto runner = layer.open_step(step, at);
  runner->compile(all);
  Choice best = all.front();
  double least = INFINITY;
  for (const Choice& choice : all) {
    std::vector<double> us;
    try {
      for (int i = 0; i < 3; ++i) us.push_back(runner->time_us(choice, i % 2));
    } catch (const AttemptError&) {  // the default is there still
      runner->restore();
      continue;
    }
    if (median(us) >= least) continue;
    least = median(us);
    best = choice;
  }
  return best;
}

}  // namespace fse
