#include "experiments/certificate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/rival.h"
#include "core/version.h"
#include "experiments/dispatch_tables.h"
#include "tuner/dispatch_store.h"

namespace fse {
namespace {

std::string place_of(const DispatchLayer& l) {
  return fmt::format("tokens={} {}", l.spec.tokens, l.attempt.workload);
}

// The layers of one place, fastest first.
std::vector<const DispatchLayer*> at_place(const LayerDispatch& group, const std::string& place) {
  std::vector<const DispatchLayer*> here;
  for (const DispatchLayer& l : group.layers)
    if (place_of(l) == place) here.push_back(&l);
  std::sort(here.begin(), here.end(), [](const DispatchLayer* a, const DispatchLayer* b) {
    return a->attempt.time_us.median < b->attempt.time_us.median;
  });
  return here;
}

int64_t choose_winner(const Store& store, const Filter& filter) {
  const std::vector<LayerDispatch> groups = load_layers(store, filter);
  std::set<std::string> places;
  const DispatchLayer* best = nullptr;
  for (const LayerDispatch& group : groups)
    for (const DispatchLayer& l : group.layers) {
      places.insert(fmt::format("{} {} tp={} {} environment={}", l.spec.layer.model,
                                to_name(l.spec.layer.dtype), l.spec.tp, place_of(l),
                                group.environment));
      if (!best || l.attempt.time_us.median < best->attempt.time_us.median) best = &l;
    }
  if (!best) fail_usage(store.file() + ": no layer that was measured and is right is selected");
  if (places.size() == 1) return best->attempt.id;
  fail_usage(
      fmt::format("{}: the winners of {} workloads are selected, such as {} and {}; expected "
                  "conditions that hold for one (model=, tokens=, ..., attempt=)",
                  store.file(), places.size(), *places.begin(), *places.rbegin()));
}

// Times and resources of the step's own search: its finals, where the tile and the default were in
// the same rounds.
void add_search(const std::vector<AttemptRecord>& tried, const std::string& default_choice,
                CertifiedStep& step) {
  for (const AttemptRecord& a : tried) {
    if (a.outcome.status != Status::measured) continue;
    const std::string choice = choice_text(a.kernel, a.tile);
    const bool own = a.kernel == step.kernel && to_text(a.tile) == step.tile;
    if (own) step.tuned_us = a.time_us.median;
    if (choice == default_choice) step.default_us = a.time_us.median;
    if (!own || !a.outcome.resources) continue;
    step.registers = a.outcome.resources->registers;
    step.lds_bytes = a.outcome.resources->lds_bytes;
    step.spill_bytes = a.outcome.resources->spill_bytes;
  }
}

void add_rival(const std::optional<Rival>& rival, CertifiedStep& step) {
  if (!rival) return;
  step.rival = rival->kernel;
  step.rival_tile = to_text(rival->tile);
  step.rival_us = rival->time_us;
  step.over_rival = rival->comparison.ratio;
  step.rival_verdict = rival->comparison.verdict;
}

std::string library_text(const std::vector<CertifiedStep>& steps) {
  const auto compared =
      std::count_if(steps.begin(), steps.end(), [](const auto& s) { return s.rival.has_value(); });
  const auto taken =
      std::count_if(steps.begin(), steps.end(), [](const auto& s) { return is_library(s.kernel); });
  if (compared == 0 && taken == 0) return "none was measured in any of the winner's steps";
  return fmt::format("compared with in the finals of {} of {} steps, taken in {}", compared,
                     steps.size(), taken);
}

std::vector<CertifiedStep> steps_of(const Store& store, const DispatchLayer& l,
                                    int64_t environment) {
  const DeviceInfo device = store.environment(environment).device;
  const LayerPlan plan = make_plan(l.spec, device);
  const std::vector<Choice> defaults = default_choices(plan, device);
  const auto rivals = find_rivals(store, l.spec, l.attempt);
  std::vector<CertifiedStep> steps;
  for (size_t i = 0; i < l.attempt.steps.size(); ++i) {
    const StepTime& ran = l.attempt.steps[i];
    CertifiedStep step{.step = ran.step,
                       .kernel = ran.kernel,
                       .tile = to_text(ran.tile),
                       .time_us = ran.time_us.median};
    if (i < plan.steps.size() && plan.steps[i].name == ran.step)
      add_search(
          store.step_attempts(step_key(plan, plan.steps[i]), l.attempt.workload, environment),
          to_text(defaults[i]), step);
    add_rival(rivals[i], step);
    steps.push_back(std::move(step));
  }
  return steps;
}

CertifiedClaim claim_of(const Store& store, const std::string& against, const DispatchLayer& winner,
                        const DispatchLayer& other, int64_t environment) {
  const std::vector<double>&mine = winner.attempt.outcome.samples_us,
        &theirs = other.attempt.outcome.samples_us;
  const bool paired = winner.attempt.run == other.attempt.run && mine.size() == theirs.size();
  const Comparison c = paired ? compare_paired(mine, theirs)
                              : compare_summaries(winner.attempt.time_us, other.attempt.time_us);
  return {.against = against,
          .attempt = other.attempt.id,
          .variant = other.spec.variant,
          .steps = steps_of(store, other, environment),
          .time_us = other.attempt.time_us,
          .ratio = c.ratio,
          .verdict = c.verdict,
          .p = c.p,
          .paired = paired};
}

std::optional<std::string> baseline_id(const Store& store, int64_t study, const Case& winner) {
  for (const CaseRecord& c : store.cases(study))
    if (c.baseline && same_workload(c.spec, winner)) return case_id(c.spec);
  return std::nullopt;
}

void add_claims(const Store& store, const LayerDispatch& group, const DispatchLayer& winner,
                int64_t study, Certificate& certificate) {
  const std::optional<std::string> baseline = baseline_id(store, study, winner.spec);
  const auto here = at_place(group, place_of(winner));
  const DispatchLayer* runner_up = nullptr;
  bool control_failed = false;  // a layer was FASTER or SLOWER than itself: nothing is decided
  for (const DispatchLayer* l : here) {
    if (l->attempt.run == winner.attempt.run && !l->attempt.control_us.empty()) {
      const Comparison itself =
          compare_paired(l->attempt.control_us, l->attempt.outcome.samples_us);
      certificate.aa_floor = itself.ratio;
      control_failed = is_difference(itself.verdict);
    }
    if (l->attempt.id == winner.attempt.id) continue;
    if (baseline && case_id(l->spec) == *baseline)
      certificate.claims.push_back(claim_of(store, "incumbent", winner, *l, group.environment));
    else if (!runner_up)
      runner_up = l;
  }
  if (runner_up)
    certificate.claims.push_back(
        claim_of(store, "runner_up", winner, *runner_up, group.environment));
  if (!control_failed) return;
  for (CertifiedClaim& claim : certificate.claims)
    if (claim.verdict != Verdict::invalid) claim.verdict = Verdict::undecided;
}

CertifiedRange range_of(const LayerDispatch& group, const DispatchLayer& winner) {
  const DispatchSamples& samples = group.variants;
  const DispatchTable table = build_dispatch(samples, 0.02);
  const std::string label = to_label(winner.spec.variant);
  CertifiedRange range{
      .from = winner.spec.tokens, .to = winner.spec.tokens, .held_out = table.held_out};
  const auto choice = std::find(samples.choices.begin(), samples.choices.end(), label);
  for (const DispatchSample& s : samples.samples)
    if (s.tokens == winner.spec.tokens && s.routing == to_text(winner.spec.routing))
      range.regret = s.regret[static_cast<size_t>(choice - samples.choices.begin())];
  for (const DispatchPart& part : table.parts) {
    if (!part.routing.empty() && part.routing != to_text(winner.spec.routing)) continue;
    for (size_t r = 0; r < part.rows.size(); ++r) {
      const TokenRange tokens = tokens_of(table, part.rows, r, samples.experts_per_token);
      const bool inside = winner.spec.tokens >= tokens.from && winner.spec.tokens <= tokens.to;
      if (!inside || samples.choices[part.rows[r].choice] != label) continue;
      range.from = tokens.from;
      range.to = tokens.to;
    }
  }
  return range;
}

void add_environment(const Store& store, int64_t id, Certificate& c) {
  const Environment e = store.environment(id);
  c.device = e.device;
  c.compiler = e.compiler;
  c.git_revision = e.git_revision;
  c.host_os = e.host_os;
}

void add_measurement(const DispatchLayer& winner, Certificate& c) {
  const AttemptRecord& a = winner.attempt;
  c.attempt = a.id;
  c.weight_sets = a.weight_sets;
  c.rotation_shortfall_bytes = a.rotation_shortfall_bytes;
  c.load_histogram = a.load_histogram;
  c.distinct_experts = a.distinct_experts;
  c.max_over_mean_load = a.max_over_mean_load;
  c.routing_agreement = a.routing_agreement;
  c.time_us = a.time_us;
  c.floor_us = a.floor_us;
  c.read_gbs = a.read_gbs;
  c.peak_gflops = a.peak_gflops;
  c.rel_frobenius = a.outcome.accuracy.rel_frobenius;
  c.worst = a.outcome.accuracy.worst;
  c.bound = a.outcome.accuracy.bound;
}

}  // namespace

Certificate make_certificate(const Store& store, const Filter& filter) {
  const int64_t chosen = choose_winner(store, filter);
  const auto study = store.attempt(chosen)->study;
  for (const LayerDispatch& group : load_layers(store, parse_filter({})))
    for (const DispatchLayer& l : group.layers) {
      if (l.attempt.id != chosen) continue;
      Certificate c{.fselab = fmt::format("{} ({})", version(), git_revision()),
                    .spec = l.spec,
                    .case_id = case_id(l.spec),
                    .canonical = canonical_text(l.spec)};
      add_environment(store, group.environment, c);
      add_measurement(l, c);
      c.steps = steps_of(store, l, group.environment);
      add_claims(store, group, l, study, c);
      c.library = library_text(c.steps);
      c.valid = range_of(group, l);
      c.rerun = fmt::format("fselab db rerun {} --db {}", chosen, store.file());
      return c;
    }
  fail_usage(fmt::format("{}: attempt {} is not the newest of its case, expected one that is",
                         store.file(), chosen));
}

}  // namespace fse
