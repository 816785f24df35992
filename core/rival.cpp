#include "core/rival.h"

#include <cmath>
#include <map>

#include "core/case.h"
#include "core/error.h"
#include "core/plan.h"

namespace fse {
namespace {

// The newest finals of each choice that had some. A finalist was screened before it, so that its
// first attempt is none.
std::map<std::string, AttemptRecord> finals_of(const std::vector<AttemptRecord>& attempts) {
  std::map<std::string, int> seen;
  std::map<std::string, AttemptRecord> finals;
  for (const AttemptRecord& a : attempts) {
    if (a.outcome.status != Status::measured) continue;
    const std::string choice = choice_text(a.kernel, a.tile);
    if (seen[choice]++ > 0) finals[choice] = a;
  }
  return finals;
}

std::vector<double> samples(const Store& store, int64_t attempt) {
  const auto found = store.attempt(attempt);
  return found ? found->record.outcome.samples_us : std::vector<double>{};
}

}  // namespace

std::optional<Rival> find_rival(const Store& store, const std::string& step_key,
                                const std::string& workload, int64_t environment,
                                const std::string& kernel, const Tile& tile) {
  const auto finals = finals_of(store.step_attempts(step_key, workload, environment));
  const auto chosen = finals.find(choice_text(kernel, tile));
  if (chosen == finals.end()) return std::nullopt;
  const std::vector<double> mine = samples(store, chosen->second.id);
  std::optional<Rival> best;
  for (const auto& [choice, a] : finals) {
    if (is_library(a.kernel) == is_library(kernel) || a.run != chosen->second.run) continue;
    const Comparison c = compare_paired(mine, samples(store, a.id));
    if (!std::isfinite(c.ratio.median) || (best && c.ratio.median <= best->comparison.ratio.median))
      continue;
    best = Rival{.kernel = a.kernel,
                 .tile = a.tile,
                 .attempt = a.id,
                 .chosen_attempt = chosen->second.id,
                 .time_us = a.time_us,
                 .chosen_us = chosen->second.time_us,
                 .comparison = c};
  }
  return best;
}

std::vector<std::optional<Rival>> find_rivals(const Store& store, const Case& spec,
                                              const AttemptRecord& layer) {
  std::vector<std::optional<Rival>> all(layer.steps.size());
  LayerPlan plan;
  try {
    plan = make_plan(spec, store.environment(layer.environment).device);
  } catch (const Refused&) {  // by this fselab, not by the one that measured it
    return all;
  }
  for (size_t i = 0; i < all.size() && i < plan.steps.size(); ++i) {
    const StepTime& ran = layer.steps[i];
    if (plan.steps[i].name == ran.step)
      all[i] = find_rival(store, step_key(plan, plan.steps[i]), layer.workload, layer.environment,
                          ran.kernel, ran.tile);
  }
  return all;
}

}  // namespace fse
