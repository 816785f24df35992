#include "reports/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "core/error.h"
#include "reports/aa_floor.h"
#include "reports/confirmation.h"

namespace fse {

namespace {

const VariantResult* fastest_where(const std::vector<VariantResult>& variants, auto wanted) {
  const VariantResult* best = nullptr;
  for (const VariantResult& v : variants)
    if (v.layer && wanted(v) && (!best || v.layer->time_us.median < best->layer->time_us.median))
      best = &v;
  return best;
}

int agreeing_axes(const Variant& a, const Variant& b) {
  return (a.gate == b.gate) + (a.topk == b.topk) + (a.shared == b.shared) +
         (a.experts == b.experts) + (a.launch == b.launch);
}

std::optional<size_t> baseline_for(const std::vector<VariantResult>& variants,
                                   const VariantResult& candidate) {
  std::optional<size_t> found;
  int most = -1;
  for (size_t i = 0; i < variants.size(); ++i) {
    const CaseRecord& other = variants[i].record;
    const int agreeing = agreeing_axes(other.spec.variant, candidate.record.spec.variant);
    if (!other.baseline || other.state == CaseState::refused || agreeing <= most) continue;
    most = agreeing;
    found = i;
  }
  return found;
}

// Baselines first, then by time; what has no time keeps its place behind.
void order(std::vector<VariantResult>& variants) {
  const auto rank = [](const VariantResult& v) {
    const double time = v.layer ? v.layer->time_us.median : std::numeric_limits<double>::infinity();
    return std::pair(v.record.baseline ? 0 : 1, time);
  };
  std::stable_sort(variants.begin(), variants.end(),
                   [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
}

// Round r of any two attempts of a workload ran the same input.
// Sample i of both belongs to round i of one race only where one process measured both.
std::pair<Comparison, bool> compared(const AttemptRecord& candidate, const AttemptRecord& baseline,
                                     double delta) {
  const auto& candidate_us = candidate.outcome.samples_us;
  const auto& baseline_us = baseline.outcome.samples_us;
  const bool paired = !candidate_us.empty() && candidate_us.size() == baseline_us.size() &&
                      candidate.run == baseline.run;
  if (paired) return {compare_paired(candidate_us, baseline_us, delta), true};
  Comparison apart = compare_summaries(candidate.time_us, baseline.time_us, delta);
  apart.p = mann_whitney_p(candidate_us, baseline_us);
  return {apart, false};
}

// Only where the slot's own comparison is not the same one already.
bool is_another_comparison(const WorkloadResult& w) {
  return w.duel && w.variants[w.duel->slot].baseline != w.duel->other;
}

// All comparisons of a report are looked at together, so they are corrected together.
void correct(ReportData& data) {
  std::vector<Comparison*> all;
  for (Series& series : data.series)
    for (WorkloadResult& workload : series.workloads) {
      for (VariantResult& v : workload.variants)
        if (v.layer && v.baseline && workload.variants[*v.baseline].layer)
          all.push_back(&v.comparison);
      if (is_another_comparison(workload)) all.push_back(&workload.duel->comparison);
    }
  correct_all(all);
  data.comparisons = all.size();
  for (Series& series : data.series)
    for (WorkloadResult& workload : series.workloads)
      if (workload.duel && !is_another_comparison(workload))
        workload.duel->comparison = workload.variants[workload.duel->slot].comparison;
}

// What a comparison of a thing with itself shows: even against odd rounds of every layer.
double floor_of_halves(const ReportData& data) {
  double largest = std::nan("");
  for (const Series& series : data.series)
    for (const WorkloadResult& workload : series.workloads)
      for (const VariantResult& v : workload.variants)
        if (v.layer) largest = std::fmax(largest, change_of_halves(*v.layer));
  return largest;
}

// A race in which a layer beats itself decides nothing.
void decide_nothing(WorkloadResult& workload, int64_t run) {
  for (VariantResult& v : workload.variants)
    if (v.layer && v.layer->run == run && v.comparison.verdict != Verdict::invalid)
      v.comparison.verdict = Verdict::undecided;
  if (workload.duel && workload.variants[workload.duel->slot].layer->run == run)
    workload.duel->comparison.verdict = Verdict::undecided;
}

// Where layers were raced against themselves, their changes are the floor.
void apply_controls(ReportData& data) {
  data.aa_floor = floor_of_halves(data);
  double largest = 0;
  for (Series& series : data.series)
    for (WorkloadResult& workload : series.workloads)
      for (const VariantResult& v : workload.variants) {
        const auto itself = v.layer ? against_itself(*v.layer, data.delta) : std::nullopt;
        if (!itself) continue;
        ++data.controls;
        largest = std::max(largest, std::fabs(itself->ratio.median - 1));
        if (!failed_control(*v.layer, data.delta)) continue;
        ++data.failed_controls;
        decide_nothing(workload, v.layer->run);
      }
  if (data.controls > 0) data.aa_floor = largest;
}

// A winner that loses in a fresh process has not won.
void apply_confirmations(ReportData& data) {
  for (Series& series : data.series)
    for (WorkloadResult& workload : series.workloads) {
      const auto c = confirmation_of(workload, data.delta);
      if (!c || !c->contradicts()) continue;
      const auto is_either = [&](size_t i) {
        return &workload.variants[i] == c->fastest || &workload.variants[i] == c->partner;
      };
      for (size_t i = 0; i < workload.variants.size(); ++i) {
        VariantResult& v = workload.variants[i];
        if (is_either(i) && v.baseline && is_either(*v.baseline))
          v.comparison.verdict = Verdict::undecided;
      }
      if (workload.duel && is_either(workload.duel->slot) && is_either(workload.duel->other))
        workload.duel->comparison.verdict = Verdict::undecided;
    }
}

const VariantResult* fastest_slot(const WorkloadResult& workload, bool slot, size_t steps) {
  return fastest_where(workload.variants, [slot, steps](const VariantResult& v) {
    return (v.record.spec.variant.shared == Shared::slot) == slot && v.layer->steps.size() >= steps;
  });
}

std::optional<Duel> duel_of(const WorkloadResult& workload, double delta) {
  const VariantResult* slot = fastest_slot(workload, true, 0);
  const VariantResult* other = fastest_slot(workload, false, 0);
  if (slot == nullptr || other == nullptr) return {};
  const auto [comparison, paired] = compared(*slot->layer, *other->layer, delta);
  const VariantResult *slot_steps = fastest_slot(workload, true, 2),
                      *other_steps = fastest_slot(workload, false, 2);
  const bool several = slot_steps != nullptr && other_steps != nullptr;
  const auto index = [&](const VariantResult* v) {
    return static_cast<size_t>(v - workload.variants.data());
  };
  return Duel{.slot = index(slot),
              .other = index(other),
              .slot_steps = index(several ? slot_steps : slot),
              .other_steps = index(several ? other_steps : other),
              .comparison = comparison,
              .paired = paired};
}

void compare_all(WorkloadResult& workload, double delta) {
  order(workload.variants);
  for (VariantResult& v : workload.variants) {
    if (v.record.baseline) continue;
    v.baseline = baseline_for(workload.variants, v);
    const VariantResult* baseline = workload.baseline_of(v);
    if (v.layer && baseline && baseline->layer)
      std::tie(v.comparison, v.paired) = compared(*v.layer, *baseline->layer, delta);
  }
  workload.duel = duel_of(workload, delta);
}

// Everything but the variant and the token count.
std::string series_key(const Case& c) {
  Case common = c;
  common.variant = {};
  common.tokens = 0;
  return c.layer.model + "\n" + canonical_text(common);
}

WorkloadResult& workload_of(Series& series, int tokens) {
  auto at = std::lower_bound(series.workloads.begin(), series.workloads.end(), tokens,
                             [](const WorkloadResult& w, int t) { return w.tokens < t; });
  if (at == series.workloads.end() || at->tokens != tokens)
    at = series.workloads.insert(at, WorkloadResult{.tokens = tokens, .variants = {}});
  return *at;
}

std::vector<Ceiling> measured_ceilings(const std::vector<Environment>& environments) {
  std::vector<Ceiling> all;
  for (const Environment& e : environments) {
    const std::string source = fmt::format("fselab {}, in the same run", e.git_revision);
    if (e.read_gbs > 0)
      all.push_back({e.device.name, "measured", "read_gbs", e.read_gbs, "GB/s", source});
    if (e.peak_gflops > 0)
      all.push_back({e.device.name, "measured", "peak_gflops", e.peak_gflops, "GFLOP/s", source});
  }
  return all;
}

bool begins_plan_hash(const Store& store, int64_t id, const std::string& prefix) {
  constexpr size_t kShortest = 4;  // so that a mistyped word is not taken for one
  return prefix.size() >= kShortest && store.study(id).plan_hash.starts_with(prefix);
}

int64_t find_study(const Store& store, const std::optional<std::string>& wanted) {
  auto studies = store.studies();
  std::reverse(studies.begin(), studies.end());
  if (!wanted) return studies.empty() ? 0 : studies.front().id;
  std::vector<int64_t> by_hash;
  std::string there;
  for (const auto& study : studies) {
    if (study.name == *wanted) return study.id;
    if (begins_plan_hash(store, study.id, *wanted)) by_hash.push_back(study.id);
    there += fmt::format("{}{} ({})", there.empty() ? "" : ", ", study.name, study.id);
  }
  for (const auto& study : studies)
    if (std::to_string(study.id) == *wanted) return study.id;
  if (by_hash.size() == 1) return by_hash.front();
  fail_usage(
      fmt::format("{}: {} '{}', expected a name, an id in brackets or the begin of a plan "
                  "hash: {}",
                  store.file(), by_hash.empty() ? "no study" : "several studies are", *wanted,
                  there.empty() ? "none, the database is empty" : there));
}

}  // namespace

const VariantResult* WorkloadResult::fastest() const {
  return fastest_where(variants, [](const VariantResult&) { return true; });
}

const VariantResult* WorkloadResult::fastest(Shared shared) const {
  return fastest_where(variants, [shared](const VariantResult& v) {
    return v.record.spec.variant.shared == shared;
  });
}

const VariantResult* WorkloadResult::baseline_of(const VariantResult& v) const {
  return v.baseline ? &variants[*v.baseline] : nullptr;
}

ReportData load_report(const Store& store, const std::optional<std::string>& wanted) {
  const int64_t id = find_study(store, wanted);
  if (id == 0) return {.aa_floor = std::nan("")};
  return load_report(store, id);
}

namespace {

void add_rivals(const Store& store, ReportData& data) {
  for (Series& series : data.series)
    for (WorkloadResult& workload : series.workloads)
      for (VariantResult& v : workload.variants)
        if (v.layer) v.rivals = find_rivals(store, v.record.spec, *v.layer);
}

}  // namespace

ReportData load_report(const Store& store, int64_t id) {
  ReportData data{.study_id = id,
                  .study = store.study(id),
                  .series = {},
                  .environments = store.environments(id),
                  .ceilings = {},
                  .models = {},
                  .attempt_counts = store.attempt_counts(id),
                  .failure_counts = store.failure_counts(id)};
  std::vector<std::string> keys;  // parallel to data.series
  for (const CaseRecord& record : store.cases(id)) {
    const std::string key = series_key(record.spec);
    const auto at = std::find(keys.begin(), keys.end(), key) - keys.begin();
    if (at == static_cast<std::ptrdiff_t>(keys.size())) {
      keys.push_back(key);
      data.series.push_back({.common = record.spec, .workloads = {}});
    }
    workload_of(data.series[static_cast<size_t>(at)], record.spec.tokens)
        .variants.push_back({.record = record,
                             .layer = store.layer_result(id, case_id(record.spec)),
                             .rivals = {},
                             .baseline = {},
                             .comparison = {}});
  }
  for (Series& series : data.series)
    for (WorkloadResult& workload : series.workloads) compare_all(workload, data.delta);
  if (store.tried_library(id)) add_rivals(store, data);
  correct(data);
  apply_controls(data);
  apply_confirmations(data);
  data.ceilings = measured_ceilings(data.environments);
  return data;
}

}  // namespace fse
