#include "tuner/dispatch_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/error.h"
#include "core/plan.h"
#include "core/store_sql.h"

namespace fse {
namespace {

struct Found {
  int64_t attempt, study, environment;
  std::string case_id;
};

// The newest attempt of every case and environment that the filter takes.
std::vector<Found> find_layers(const Store& store, const Filter& filter) {
  return guarded(store.file(), "looking for layers", [&] {
    std::vector<Value> parameters;
    for (const auto& p : filter.parameters)
      std::visit([&](const auto& value) { parameters.emplace_back(value); }, p);
    auto q = query(store.database(),
                   fmt::format("SELECT max(a.id) AS id, a.study AS study, a.environment AS "
                               "environment, a.case_id AS case_id FROM {} WHERE a.level = 'layer' "
                               "AND a.verified = 1 AND a.status = 'measured' AND {} "
                               "GROUP BY a.case_id, a.environment ORDER BY id",
                               kFilterRows, filter.where),
                   parameters);
    std::vector<Found> all;
    while (q.executeStep())
      all.push_back(
          {integer(q, "id"), integer(q, "study"), integer(q, "environment"), text(q, "case_id")});
    return all;
  });
}

std::string group_text(const Case& c, int64_t environment) {
  return fmt::format("{}model={}\ntp={}\ncache={}\nenvironment={}\n", canonical_text(c.layer),
                     c.layer.model, c.tp, to_name(c.cache), environment);
}

// Where both ran in the same rounds, the median of the rounds' ratios: the routing that both had
// in a round does not count then.
double ratio(const AttemptRecord& a, const AttemptRecord& b) {
  const bool paired = a.run == b.run && a.outcome.samples_us.size() == b.outcome.samples_us.size();
  const double of_medians = a.time_us.median / b.time_us.median;
  if (!paired) return of_medians;
  const double median = compare_paired(a.outcome.samples_us, b.outcome.samples_us).ratio.median;
  return std::isfinite(median) ? median : of_medians;
}

size_t index_of(std::vector<std::string>& names, const std::string& name) {
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return i;
  names.push_back(name);
  return names.size() - 1;
}

void fill_up(DispatchSamples& samples) {
  for (DispatchSample& s : samples.samples) s.regret.resize(samples.choices.size(), INFINITY);
}

void set_regret(DispatchSample& sample, size_t choice, double regret) {
  if (sample.regret.size() <= choice) sample.regret.resize(choice + 1, INFINITY);
  sample.regret[choice] = std::max(0.0, regret);
}

DispatchSamples compare_variants(const std::vector<DispatchLayer>& layers) {
  const Case& first = layers.front().spec;
  DispatchSamples all{.experts_per_token = static_cast<double>(first.layer.routing.top_k) /
                                           first.layer.routing.experts};
  std::map<std::pair<int, std::string>, std::vector<const DispatchLayer*>> places;
  for (const DispatchLayer& l : layers) places[{l.spec.tokens, l.attempt.workload}].push_back(&l);
  for (const auto& [place, here] : places) {
    const auto best = std::min_element(here.begin(), here.end(), [](const auto* a, const auto* b) {
      return a->attempt.time_us.median < b->attempt.time_us.median;
    });
    DispatchSample sample{.tokens = place.first, .routing = to_text((*best)->spec.routing)};
    for (const DispatchLayer* l : here)
      set_regret(sample, index_of(all.choices, to_label(l->spec.variant)),
                 l == *best ? 0 : ratio(l->attempt, (*best)->attempt) - 1);
    all.samples.push_back(std::move(sample));
  }
  fill_up(all);
  return all;
}

std::string choice_text(const std::string& kernel, const Tile& tile) {
  return tile.axes.empty() ? kernel : kernel + " " + to_text(tile);
}

// A step's attempts at one workload: finals, where the same choice had been screened before, are
// longer and in the same rounds; the others are compared by their screening. The first sample of
// `times` of each choice is its screening, the last its finals.
void compare_tiles(const std::vector<AttemptRecord>& attempts, DispatchSamples& all,
                   DispatchSample& sample) {
  std::map<std::string, std::vector<double>> times;
  for (const AttemptRecord& a : attempts)
    if (a.outcome.status == Status::measured)
      times[choice_text(a.kernel, a.tile)].push_back(a.time_us.median);
  const std::vector<double>* best = nullptr;
  for (const auto& [choice, t] : times) {
    const bool finals = t.size() > 1, best_finals = best != nullptr && best->size() > 1;
    const bool better = best == nullptr || (finals && !best_finals) ||
                        (finals == best_finals && t.back() < best->back());
    if (better) best = &t;
  }
  for (const auto& [choice, t] : times) {
    const bool both = t.size() > 1 && best->size() > 1;
    set_regret(sample, index_of(all.choices, choice),
               both ? t.back() / best->back() - 1 : t.front() / best->front() - 1);
  }
}

}  // namespace

std::vector<LayerDispatch> load_layers(const Store& store, const Filter& filter) {
  std::map<int64_t, std::map<std::string, Case>> studies;
  std::map<std::string, size_t> known;
  std::vector<LayerDispatch> groups;
  for (const Found& found : find_layers(store, filter)) {
    auto& cases = studies[found.study];
    if (cases.empty())
      for (const CaseRecord& c : store.cases(found.study)) cases.emplace(case_id(c.spec), c.spec);
    const auto spec = cases.find(found.case_id);
    const auto attempt = store.attempt(found.attempt);
    if (spec == cases.end() || !attempt)
      fail_data(
          fmt::format("{}: attempt {}: no such case in its study", store.file(), found.attempt));
    const auto [it, added] =
        known.try_emplace(group_text(spec->second, found.environment), groups.size());
    if (added) groups.push_back({.environment = found.environment, .layers = {}, .variants = {}});
    groups[it->second].layers.push_back({spec->second, attempt->record});
  }
  for (LayerDispatch& group : groups) group.variants = compare_variants(group.layers);
  return groups;
}

std::vector<StepDispatch> load_steps(const Store& store, const LayerDispatch& group,
                                     const std::string& routing, const DispatchRow& row) {
  std::vector<StepDispatch> steps;
  const DeviceInfo device = store.environment(group.environment).device;
  const std::string& variant = group.variants.choices[row.choice];
  for (const DispatchLayer& l : group.layers) {
    const Case& c = l.spec;
    const bool inside = c.tokens >= row.first_tokens && c.tokens <= row.last_tokens;
    if (!inside || to_label(c.variant) != variant) continue;
    if (!routing.empty() && to_text(c.routing) != routing) continue;
    const LayerPlan plan =
        make_plan(c.layer, measured_shard(c.layer, c.tp), c.variant, c.tokens, device);
    for (size_t i = 0; i < std::min(plan.steps.size(), l.attempt.steps.size()); ++i) {
      const StepTime& ran = l.attempt.steps[i];
      if (steps.size() == i)
        steps.push_back({ran.step, {.experts_per_token = group.variants.experts_per_token}});
      DispatchSamples& all = steps[i].tiles;
      DispatchSample sample{.tokens = c.tokens, .routing = to_text(c.routing)};
      const auto tried =
          store.step_attempts(step_key(plan, plan.steps[i]), l.attempt.workload, group.environment);
      compare_tiles(tried, all, sample);
      if (sample.regret.empty())
        set_regret(sample, index_of(all.choices, choice_text(ran.kernel, ran.tile)), 0);
      all.samples.push_back(std::move(sample));
    }
  }
  for (StepDispatch& step : steps) fill_up(step.tiles);
  return steps;
}

}  // namespace fse
