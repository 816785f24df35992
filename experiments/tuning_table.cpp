#include "experiments/tuning_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "kernels/catalog.h"
#include "reports/aa_floor.h"
#include "tuner/dispatch_store.h"

namespace fse {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

// Layers of one race, and the environment that they ran in.
struct Race {
  const Store& store;
  const LayerDispatch& group;
  DeviceInfo device;
  std::vector<const DispatchLayer*> layers;  // the fastest first
};

std::vector<Race> races_of(const Store& store, const LayerDispatch& group) {
  std::map<std::pair<int, std::string>, std::vector<const DispatchLayer*>> by_workload;
  for (const DispatchLayer& l : group.layers)
    by_workload[{l.spec.tokens, l.attempt.workload}].push_back(&l);
  std::vector<Race> races;
  for (auto& [workload, layers] : by_workload) {
    std::sort(layers.begin(), layers.end(), [](const DispatchLayer* a, const DispatchLayer* b) {
      return a->attempt.time_us.median < b->attempt.time_us.median;
    });
    races.push_back({store, group, store.environment(group.environment).device, layers});
  }
  return races;
}

// Times of one step's tiles, by name. Later ones replace earlier ones: what was screened is
// measured again in the finals, in the same rounds as the others there.
struct Finals {
  std::map<std::string, Summary> us;  // "KERNEL TILE"
  std::string library;                // its fastest; "": not tried
};

Finals finals_of(const std::vector<AttemptRecord>& tried) {
  Finals finals;
  for (const AttemptRecord& a : tried) {
    if (a.outcome.status != Status::measured) continue;
    const std::string name = choice_text(a.kernel, a.tile);
    finals.us[name] = a.time_us;
    const bool best = finals.library.empty() || a.time_us.median < finals.us[finals.library].median;
    if (is_library(a.kernel) && best) finals.library = name;
  }
  return finals;
}

// How much longer `other` takes than `own`: between the ends of both intervals.
Summary more_us(const Finals& finals, const std::string& own, const std::string& other) {
  if (own == other) return {};
  const auto a = finals.us.find(own), b = finals.us.find(other);
  if (a == finals.us.end() || b == finals.us.end()) return {kUnknown, kUnknown, kUnknown, 0};
  const Summary &mine = a->second, &theirs = b->second;
  return {theirs.median - mine.median, theirs.lo - mine.hi, theirs.hi - mine.lo,
          std::min(mine.n, theirs.n)};
}

void add(Summary& sum, const Summary& term) {
  sum.median += term.median;
  sum.lo += term.lo;
  sum.hi += term.hi;
}

struct Alternatives {
  Summary defaults;                // more than the layer takes, its steps added up
  std::optional<Summary> library;  // the same with the library's products; nothing: none was tried
};

Alternatives alternatives_of(const Race& race, const DispatchLayer& l) {
  const LayerPlan plan = make_plan(l.spec, race.device);
  const std::vector<Choice> defaults = default_choices(plan, race.device);
  Alternatives found;
  for (size_t i = 0; i < l.attempt.steps.size() && i < plan.steps.size(); ++i) {
    const StepTime& ran = l.attempt.steps[i];
    if (ran.step != plan.steps[i].name) continue;
    const Finals finals = finals_of(race.store.step_attempts(
        step_key(plan, plan.steps[i]), l.attempt.workload, race.group.environment));
    const std::string own = choice_text(ran.kernel, ran.tile);
    add(found.defaults, more_us(finals, own, to_text(defaults[i])));
    if (finals.library.empty()) continue;
    if (!found.library) found.library = Summary{};
    add(*found.library, more_us(finals, own, finals.library));
  }
  return found;
}

// The fastest that a layer would be with the library's products.
double with_library_us(const Race& race) {
  double best = kUnknown;
  for (const DispatchLayer* l : race.layers) {
    const auto more = alternatives_of(race, *l).library;
    if (!more) continue;
    const double us = l->attempt.time_us.median + more->median;
    if (!(us >= best)) best = us;
  }
  return best;
}

const DispatchLayer* baseline_of(const Race& race) {
  for (const CaseRecord& c :
       race.store.cases(race.store.attempt(race.layers.front()->attempt.id)->study))
    for (const DispatchLayer* l : race.layers)
      if (c.baseline && case_id(c.spec) == case_id(l->spec)) return l;
  return nullptr;
}

double aa_percent(const Race& race) {
  double worst = kUnknown;
  for (const DispatchLayer* l : race.layers) {
    const auto c = against_itself(l->attempt, 0.01);
    const double change = c ? 100 * std::fabs(c->ratio.median - 1) : kUnknown;
    if (!(change <= worst) && !std::isnan(change)) worst = change;
  }
  return worst;
}

struct Census {
  int64_t attempts = 0, failed_layers = 0;
  std::map<Status, int64_t> failures;  // of tiles
  void count(Status status) {
    ++attempts;
    if (status != Status::measured) ++failures[status];
  }
};

std::string failures_text(const Census& census) {
  std::string text;
  const auto add = [&](int64_t n, const std::string& what) {
    if (n > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", n, what);
  };
  for (const auto& [status, n] : census.failures) add(n, to_name(status));
  add(census.failed_layers, census.failed_layers == 1 ? "layer" : "layers");
  return text.empty() ? "none" : text;
}

// Of all variants' steps, each once.
Census census_of(const Race& race) {
  const DispatchLayer& first = *race.layers.front();
  Census census;
  std::set<std::string> keys;
  for (const CaseRecord& c : race.store.cases(race.store.attempt(first.attempt.id)->study)) {
    if (c.state == CaseState::refused || !same_workload(c.spec, first.spec)) continue;
    const LayerPlan plan = make_plan(c.spec, race.device);
    for (const Step& step : plan.steps) keys.insert(step_key(plan, step));
    census.failed_layers += c.state == CaseState::failed;
  }
  for (const std::string& key : keys)
    for (const AttemptRecord& a :
         race.store.step_attempts(key, first.attempt.workload, race.group.environment))
      census.count(a.outcome.status);
  return census;
}

std::vector<Cell> row_of(const Race& race) {
  const DispatchLayer& winner = *race.layers.front();
  const Summary us = winner.attempt.time_us;
  const Summary more = alternatives_of(race, winner).defaults;
  const DispatchLayer* baseline = baseline_of(race);
  const double library = with_library_us(race);
  const Comparison change = baseline ? compare_paired(winner.attempt.outcome.samples_us,
                                                      baseline->attempt.outcome.samples_us)
                                     : Comparison{.ratio = {kUnknown, kUnknown, kUnknown, 0}};
  const Census census = census_of(race);
  const auto percent = [](double ratio) { return cell(100 * (ratio - 1)); };
  return {winner.spec.layer.model,
          to_name(winner.spec.layer.dtype),
          int64_t{winner.spec.tp},
          int64_t{winner.spec.tokens},
          winner.attempt.workload,
          to_label(winner.spec.variant),
          cell(us.median),
          cell(us.lo),
          cell(us.hi),
          us.n,
          percent(change.ratio.median),
          percent(change.ratio.lo),
          percent(change.ratio.hi),
          cell(100 * more.median / us.median),
          cell(100 * more.lo / us.median),
          cell(100 * more.hi / us.median),
          cell(100 * (library / us.median - 1)),
          cell(aa_percent(race)),
          census.attempts,
          failures_text(census),
          int64_t{race.group.environment}};
}

}  // namespace

Grid tuning_table(const Store& store, const Filter& filter) {
  Grid grid{.columns =
                {"model",          "dtype",           "tp",         "tokens",          "workload",
                 "variant",        "layer_time_us",   "lo_us",      "hi_us",           "n",
                 "change_percent", "change_lo",       "change_hi",  "default_percent", "default_lo",
                 "default_hi",     "library_percent", "aa_percent", "attempts",        "failures",
                 "environment"},
            .rows = {}};
  for (const LayerDispatch& group : load_layers(store, filter))
    for (const Race& race : races_of(store, group)) grid.rows.push_back(row_of(race));
  return grid;
}

}  // namespace fse
