#include "tuner/joint.h"

#include <algorithm>
#include <map>

namespace fse {
namespace {

constexpr double kClose = 1.05;
constexpr int kFewest = 6;  // below that no 95 % interval of a median exists

// The latest times of a step's tiles that have an interval: those of finals, and of short
// screenings.
std::vector<AttemptRecord> timed_tiles(const LayerPlan& plan, const Step& step,
                                       const Ledger& ledger) {
  std::map<std::string, AttemptRecord> latest;
  for (AttemptRecord& a :
       ledger.store.step_attempts(step_key(plan, step), ledger.workload, ledger.environment))
    if (a.outcome.status == Status::measured && a.time_us.n >= kFewest)
      latest[choice_text(a.kernel, a.tile)] = std::move(a);
  std::vector<AttemptRecord> timed;
  for (auto& [name, a] : latest) timed.push_back(std::move(a));
  return timed;
}

bool is_of(const AttemptRecord& a, const Choice& choice) {
  return a.kernel == choice.kernel->name && a.tile == choice.tile;
}

struct Ranked {
  Alternative alternative;
  double winner_us, over;  // of the step: the winner's time, and the alternative's in terms of it
};

void add_close(const LayerPlan& plan, size_t at, const Choice& winner,
               const std::vector<Choice>& all, const Ledger& ledger, std::vector<Ranked>& found) {
  const std::vector<AttemptRecord> timed = timed_tiles(plan, plan.steps[at], ledger);
  const auto best = std::find_if(timed.begin(), timed.end(),
                                 [&](const AttemptRecord& a) { return is_of(a, winner); });
  if (best == timed.end()) return;
  const double winner_us = best->time_us.median;
  for (const AttemptRecord& a : timed) {
    if (is_of(a, winner) || a.time_us.median > kClose * winner_us) continue;
    for (const Choice& choice : all)
      if (is_of(a, choice))
        found.push_back({{at, choice}, winner_us, a.time_us.median / winner_us});
  }
}

Contestant with(LayerRunner& layer, std::vector<Choice> choices, const Alternative& a) {
  choices[a.step] = a.choice;
  return {&layer, std::move(choices)};
}

JointTrial trial_of(const LayerPlan& plan, const Alternative& a, const Comparison& c) {
  return {.step = plan.steps[a.step].name,
          .kernel = a.choice.kernel->name,
          .tile = a.choice.tile,
          .ratio = c.ratio};
}

bool is_faster(const LayerMeasurement& layer, const Comparison& against_first) {
  return !layer.failure && against_first.ratio.hi < 1;
}

}  // namespace

std::vector<Alternative> close_alternatives(const LayerPlan& plan, std::span<const Choice> choices,
                                            const DeviceInfo& device, const Ledger& ledger,
                                            const TuneSpec& spec, size_t most) {
  std::vector<Ranked> found;
  for (size_t i = 0; i < plan.steps.size(); ++i)
    add_close(plan, i, choices[i], candidates(plan, plan.steps[i], device, spec.tiles), ledger,
              found);
  std::stable_sort(found.begin(), found.end(), [](const Ranked& a, const Ranked& b) {
    return a.winner_us != b.winner_us ? a.winner_us > b.winner_us : a.over < b.over;
  });
  std::vector<Alternative> closest;
  for (const Ranked& r : found)
    if (closest.size() < most) closest.push_back(r.alternative);
  return closest;
}

JointResult search_jointly(LayerRunner& layer, const LayerPlan& plan, std::vector<Choice> choices,
                           std::span<const Alternative> alternatives, uint64_t seed,
                           double max_seconds, const std::function<bool()>& stop) {
  JointResult result{.choices = choices};
  if (alternatives.empty()) return result;
  const auto race = [&](std::span<const Contestant> contestants, uint64_t salt) {
    const MeasureSpec spec{.min_rounds = kFewest,
                           .interval = 0.005,
                           .max_seconds = max_seconds / static_cast<double>(contestants.size())};
    return measure_layers(contestants, spec, seed + salt, stop);
  };
  std::vector<Contestant> contestants{{&layer, choices}};
  for (const Alternative& a : alternatives) contestants.push_back(with(layer, choices, a));
  const std::vector<LayerMeasurement> first = race(contestants, 1);

  std::map<size_t, std::pair<double, size_t>> taken;  // by step: the best ratio, its trial
  for (size_t i = 0; i < alternatives.size(); ++i) {
    const Comparison c = compare_paired(first[i + 1].layer_us, first[0].layer_us);
    result.trials.push_back(trial_of(plan, alternatives[i], c));
    if (!is_faster(first[i + 1], c)) continue;
    const auto [it, added] = taken.try_emplace(alternatives[i].step, c.ratio.median, i);
    if (!added && c.ratio.median < it->second.first) it->second = {c.ratio.median, i};
  }
  if (taken.empty() || first[0].failure) return result;
  std::vector<Choice> together = choices;
  for (const auto& [step, best] : taken) together[step] = alternatives[best.second].choice;
  const std::vector<Contestant> last{{&layer, choices}, {&layer, together}};
  const std::vector<LayerMeasurement> again = race(last, 2);
  const Comparison c = compare_paired(again[1].layer_us, again[0].layer_us);
  if (!is_faster(again[1], c) || again[0].failure) return result;
  for (const auto& [step, best] : taken) result.trials[best.second].taken = true;
  result.choices = std::move(together);
  return result;
}

}  // namespace fse
