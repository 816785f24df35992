#include "tuner/joint.h"

#include <fmt/format.h>

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

bool is_of(const auto& a, const Choice& choice) {
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

std::vector<Choice> with(std::vector<Choice> choices, const Alternative& a) {
  choices[a.step] = a.choice;
  return choices;
}

std::string name_of(const LayerPlan& plan, const Alternative& a) {
  return fmt::format("{} {}", plan.steps[a.step].name, to_text(a.choice));
}

JointTrial trial_of(const LayerPlan& plan, const Alternative& a) {
  return {.step = plan.steps[a.step].name,
          .kernel = a.choice.kernel->name,
          .tile = a.choice.tile,
          .ratio = {}};
}

JointTrial trial_of(const Combination& whole) {
  return {.step = kWholeLayer, .kernel = whole.name, .tile = {}, .ratio = {}};
}

// A race of whole layers against the first of them.
class Race {
 public:
  Race(LayerRunner& layer, double max_seconds, const std::function<bool()>& stop)
      : layer_(layer), max_seconds_(max_seconds), stop_(stop) {}

  void run(const std::vector<std::vector<Choice>>& layers, uint64_t seed) {
    std::vector<Contestant> contestants;
    for (const std::vector<Choice>& choices : layers) contestants.push_back({&layer_, choices});
    const MeasureSpec spec{.min_rounds = kFewest,
                           .interval = 0.005,
                           .max_seconds = max_seconds_ / static_cast<double>(layers.size())};
    measured_ = measure_layers(contestants, spec, seed, stop_);
  }
  Summary ratio(size_t i) const {
    return compare_paired(measured_[i].layer_us, measured_[0].layer_us).ratio;
  }
  bool is_faster(size_t i) const {
    return !measured_[0].failure && !measured_[i].failure && ratio(i).hi < 1;
  }
  JointTrial described(size_t i, JointTrial trial) const {
    trial.ratio = ratio(i);
    if (const auto& failure = measured_[i].failure) {
      trial.status = failure->status;
      trial.reason = failure->reason;
    }
    return trial;
  }

 private:
  LayerRunner& layer_;
  const double max_seconds_;
  const std::function<bool()>& stop_;
  std::vector<LayerMeasurement> measured_;
};

// What won its race, by its ratio.
struct Won {
  double ratio;
  Combination layer;
};

void add_sorted(std::vector<Won> won, std::vector<Combination>& best_first) {
  std::stable_sort(won.begin(), won.end(),
                   [](const Won& a, const Won& b) { return a.ratio < b.ratio; });
  for (Won& w : won) {
    const bool is_there = std::any_of(best_first.begin(), best_first.end(),
                                      [&](const auto& c) { return c.choices == w.layer.choices; });
    if (!is_there) best_first.push_back(std::move(w.layer));
  }
}

// Of the alternatives that won, the best for each step.
std::vector<Choice> together(std::vector<Choice> choices,
                             const std::vector<std::pair<double, Alternative>>& won) {
  std::map<size_t, double> best;
  for (const auto& [ratio, a] : won) {
    const auto [it, added] = best.try_emplace(a.step, ratio);
    if (!added && ratio >= it->second) continue;
    it->second = ratio;
    choices[a.step] = a.choice;
  }
  return choices;
}

// What the first race leaves: layers that have to win once more, and single alternatives.
struct Survivors {
  std::vector<Combination> again;
  std::vector<Won> alone;
};

Survivors race_all(Race& race, const LayerPlan& plan, const std::vector<Choice>& winners,
                   std::span<const Alternative> alternatives,
                   const std::optional<Combination>& incumbent, uint64_t seed,
                   std::vector<JointTrial>& trials) {
  std::vector<std::vector<Choice>> layers{winners};
  for (const Alternative& a : alternatives) layers.push_back(with(winners, a));
  if (incumbent) layers.push_back(incumbent->choices);
  race.run(layers, seed);
  Survivors left;
  std::vector<std::pair<double, Alternative>> won;
  for (size_t i = 0; i < alternatives.size(); ++i) {
    trials.push_back(race.described(i + 1, trial_of(plan, alternatives[i])));
    if (!race.is_faster(i + 1)) continue;
    won.emplace_back(race.ratio(i + 1).median, alternatives[i]);
    left.alone.push_back({won.back().first, {name_of(plan, alternatives[i]), layers[i + 1]}});
  }
  if (!won.empty()) left.again.push_back({"the joint winners", together(winners, won)});
  if (!incumbent) return left;
  const size_t last = layers.size() - 1;
  trials.push_back(race.described(last, trial_of(*incumbent)));
  if (race.is_faster(last)) left.again.push_back(*incumbent);
  return left;
}

std::vector<Won> race_again(Race& race, const std::vector<Choice>& winners,
                            const std::vector<Combination>& again, uint64_t seed) {
  if (again.empty()) return {};
  std::vector<std::vector<Choice>> layers{winners};
  for (const Combination& c : again) layers.push_back(c.choices);
  race.run(layers, seed);
  std::vector<Won> twice;
  for (size_t i = 0; i < again.size(); ++i)
    if (race.is_faster(i + 1)) twice.push_back({race.ratio(i + 1).median, again[i]});
  return twice;
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

JointResult search_jointly(LayerRunner& layer, const LayerPlan& plan, std::vector<Choice> winners,
                           std::span<const Alternative> alternatives,
                           std::optional<Combination> incumbent, uint64_t seed, double max_seconds,
                           const std::function<bool()>& stop) {
  const Combination steps_winners{"the steps' winners", winners};
  if (incumbent && incumbent->choices == winners) incumbent.reset();
  JointResult result;
  if (!alternatives.empty() || incumbent) {
    Race race(layer, max_seconds, stop);
    Survivors left =
        race_all(race, plan, winners, alternatives, incumbent, seed + 1, result.trials);
    add_sorted(race_again(race, winners, left.again, seed + 2), result.best_first);
    if (!result.best_first.empty()) add_sorted(std::move(left.alone), result.best_first);
  }
  result.best_first.push_back(steps_winners);
  return result;
}

void take(JointResult& result, const LayerPlan& plan, const Combination& chosen) {
  if (result.best_first.empty()) return;  // nothing was tried
  const std::vector<Choice>& winners = result.best_first.back().choices;
  for (JointTrial& t : result.trials) {
    if (t.step == kWholeLayer) t.taken = t.kernel == chosen.name && t.status == Status::measured;
    for (size_t i = 0; i < plan.steps.size(); ++i) {
      const Choice& c = chosen.choices[i];
      if (plan.steps[i].name == t.step) t.taken = !(c == winners[i]) && is_of(t, c);
    }
  }
}

void reject(JointResult& result, const Combination& layer, const Outcome& outcome) {
  JointTrial trial = trial_of(layer);
  trial.status = outcome.status;
  trial.reason = outcome.reason;
  result.trials.push_back(std::move(trial));
}

}  // namespace fse
