#include "tuner/dispatch_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "core/error.h"
#include "core/plan.h"
#include "core/store_sql.h"
#include "kernels/catalog.h"

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

LayerPlan plan_of(const Case& c, int tokens, const DeviceInfo& device) {
  return make_plan(c.layer, measured_shard(c.layer, c.tp), c.variant, tokens, device);
}

void add_samples(const Store& store, const LayerDispatch& group, const DispatchLayer& l,
                 const LayerPlan& plan, std::vector<StepDispatch>& steps) {
  const bool same = std::equal(
      l.attempt.steps.begin(), l.attempt.steps.end(), plan.steps.begin(), plan.steps.end(),
      [](const StepTime& ran, const Step& step) { return ran.step == step.name; });
  if (!same)
    fail_data(
        fmt::format("{}: attempt {}: its steps are not those of this fselab's plan, expected "
                    "an attempt of a fselab that plans alike",
                    store.file(), l.attempt.id));
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const StepTime& ran = l.attempt.steps[i];
    if (steps.size() == i)
      steps.push_back({.step = ran.step,
                       .tiles = {.experts_per_token = group.variants.experts_per_token},
                       .table = {}});
    DispatchSamples& all = steps[i].tiles;
    DispatchSample sample{.tokens = l.spec.tokens, .routing = to_text(l.spec.routing)};
    compare_tiles(
        store.step_attempts(step_key(plan, plan.steps[i]), l.attempt.workload, group.environment),
        all, sample);
    if (sample.regret.empty())
      set_regret(sample, index_of(all.choices, choice_text(ran.kernel, ran.tile)), 0);
    all.samples.push_back(std::move(sample));
  }
}

// A kernel that this fselab does not have is not judged.
bool can_run(const std::string& choice, const LayerPlan& plan, size_t step,
             const DeviceInfo& device) {
  const size_t space = choice.find(' ');
  const KernelDef* kernel = find_kernel(choice.substr(0, space));
  if (kernel == nullptr || step >= plan.steps.size()) return true;
  const Tile tile = space == std::string::npos ? Tile{} : tile_from_text(choice.substr(space + 1));
  for (const Axis& axis : kernel->axes)
    if (std::none_of(tile.axes.begin(), tile.axes.end(),
                     [&](const auto& a) { return a.first == axis.name; }))
      return true;  // another fselab's axes
  return kernel->legal(tile).empty() && kernel->fits(tile, plan, plan.steps[step], device).empty();
}

// What a tile needs grows with the tokens (LDS; dense: tokens up to width), so that where it ends
// can be found by halving.
void limit_rows(std::vector<DispatchRow>& rows, const DispatchSamples& samples, int most_tokens,
                const std::function<bool(const std::string&, int)>& runs) {
  for (size_t r = 0; r < rows.size(); ++r) {
    const bool last = r + 1 == rows.size();
    int good = rows[r].last_tokens, bad = (last ? most_tokens : rows[r + 1].first_tokens - 1) + 1;
    const std::string& choice = samples.choices[rows[r].choice];
    if (good + 1 < bad && runs(choice, bad - 1)) good = bad - 1;
    while (good + 1 < bad) {
      const int middle = good + (bad - good) / 2;
      (runs(choice, middle) ? good : bad) = middle;
    }
    rows[r].up_to = good;
    if (last) continue;
    const double limit = (good + 1) * samples.experts_per_token;
    if (limit >= rows[r + 1].begin) continue;
    rows[r + 1].begin = limit;
    rows[r + 1].crossover = false;
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

double aa_floor(const LayerDispatch& layers) {
  double floor = NAN;
  for (const DispatchLayer& l : layers.layers) {
    const double ratio =
        compare_paired(l.attempt.control_us, l.attempt.outcome.samples_us).ratio.median;
    if (std::isfinite(ratio)) floor = std::fmax(floor, std::abs(ratio - 1));
  }
  return floor;
}

std::vector<StepDispatch> dispatch_steps(const Store& store, const LayerDispatch& group,
                                         const StepQuery& asked) {
  std::vector<StepDispatch> steps;
  const DeviceInfo device = store.environment(group.environment).device;
  const std::string& variant = group.variants.choices[asked.row.choice];
  const Case* spec = nullptr;
  for (const DispatchLayer& l : group.layers) {
    const Case& c = l.spec;
    const bool inside = c.tokens >= asked.row.first_tokens && c.tokens <= asked.row.last_tokens;
    if (!inside || to_label(c.variant) != variant) continue;
    if (!asked.routing.empty() && to_text(c.routing) != asked.routing) continue;
    spec = &c;
    add_samples(store, group, l, plan_of(c, c.tokens, device), steps);
  }
  for (size_t i = 0; i < steps.size(); ++i) {
    fill_up(steps[i].tiles);
    steps[i].table = build_dispatch(steps[i].tiles, asked.most_regret, asked.by_routing);
    for (DispatchPart& part : steps[i].table.parts)
      limit_rows(part.rows, steps[i].tiles, asked.most_tokens,
                 [&](const std::string& choice, int t) {
                   return can_run(choice, plan_of(*spec, t, device), i, device);
                 });
  }
  return steps;
}

}  // namespace fse
