#include "reports/workload_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "reports/selection_text.h"
#include "reports/table.h"

namespace fse {

namespace {

double largest_time(const WorkloadResult& w) {
  double largest = 0;
  for (const VariantResult& v : w.variants)
    if (v.layer) largest = std::max(largest, v.layer->time_us.median);
  return largest;
}

std::string ratio_to(double time_us, double floor_us) {
  return floor_us > 0 ? fmt::format("{:.2f}", time_us / floor_us) : "-";
}

size_t baseline_count(const WorkloadResult& w) {
  return static_cast<size_t>(std::count_if(w.variants.begin(), w.variants.end(),
                                           [](const auto& v) { return v.record.baseline; }));
}

std::vector<std::string> variant_row(const WorkloadResult& w, const VariantResult& v,
                                     const Varying& say, int decimals) {
  const AttemptRecord& a = *v.layer;
  std::vector<std::string> row = {label(v.record.spec.variant, say),
                                  number(a.time_us.median, decimals), interval(a.time_us, decimals),
                                  std::to_string(a.time_us.n)};
  const VariantResult* baseline = w.baseline_of(v);
  if (baseline_count(w) > 1)
    row.insert(row.begin() + 1, baseline ? label(baseline->record.spec.variant, say) : "itself");
  if (v.record.baseline)
    row.insert(row.end(), {"-", "-", "-", "baseline", "-"});
  else if (!baseline || !baseline->layer)
    row.insert(row.end(), {"-", "-", "-", to_name(Verdict::invalid), "no baseline"});
  else
    row.insert(row.end(), {percent(v.comparison.ratio), percent_interval(v.comparison.ratio),
                           signed_number(v.comparison.difference.median, decimals),
                           to_name(v.comparison.verdict), v.paired ? "rounds" : "intervals"});
  row.insert(row.end(),
             {ratio_to(a.time_us.median, a.floor_us), error_text(a.outcome.accuracy.rel_frobenius),
              error_text(a.outcome.accuracy.bound)});
  return row;
}

std::string variant_table(const WorkloadResult& w, const Varying& say) {
  Table table{{"<variant", "layer_time_us", "95 % interval", "n", "change %", "95 % interval",
               "change us", "<verdict", "<compared by", "x floor", "rel_frobenius", "bound"},
              {}};
  if (baseline_count(w) > 1) table.titles.insert(table.titles.begin() + 1, "<baseline");
  const int decimals = decimals_for(largest_time(w));
  for (const VariantResult& v : w.variants)
    if (v.layer) table.rows.push_back(variant_row(w, v, say, decimals));
  return to_markdown(table);
}

// Adds a plan's steps to the union, each new one before the next step that both have, so that what
// replaces a step stands beside it.
void merge_steps(std::vector<std::string>& names, const AttemptRecord& a) {
  std::string next;  // the step behind, "" at the end
  for (auto s = a.steps.rbegin(); s != a.steps.rend(); ++s) {
    if (std::find(names.begin(), names.end(), s->step) == names.end())
      names.insert(std::find(names.begin(), names.end(), next), s->step);
    next = s->step;
  }
}

double step_us(const AttemptRecord& a, const std::string& name) {
  for (const StepTime& s : a.steps)
    if (s.step == name) return s.time_us.median;
  return std::nan("");
}

double steps_sum(const AttemptRecord& a) {
  double sum = 0;
  for (const StepTime& s : a.steps) sum += s.time_us.median;
  return sum;
}

std::vector<const VariantResult*> measured(const WorkloadResult& w) {
  std::vector<const VariantResult*> all;
  for (const VariantResult& v : w.variants)
    if (v.layer && !v.layer->steps.empty()) all.push_back(&v);
  return all;
}

// Every variant in microseconds, step by step; last what the fastest changes to its baseline.
std::string step_table(const WorkloadResult& w, const VariantResult* fastest,
                       const VariantResult* baseline, const Varying& say) {
  const std::vector<const VariantResult*> variants = measured(w);
  const bool compared = fastest && baseline && baseline->layer;
  const int decimals = decimals_for(largest_time(w) / 10);
  Table table{{"<step"}, {}};
  std::vector<std::string> names;
  for (const VariantResult* v : variants) {
    table.titles.push_back(label(v->record.spec.variant, say) + " us");
    merge_steps(names, *v->layer);
  }
  if (compared) table.titles.push_back(label(fastest->record.spec.variant, say) + " change us");
  const auto add = [&](const std::string& what, auto time_of) {
    std::vector<std::string> row{what};
    for (const VariantResult* v : variants) row.push_back(number(time_of(*v->layer), decimals));
    const auto or_zero = [](double us) { return std::isnan(us) ? 0 : us; };
    if (compared)
      row.push_back(signed_number(
          or_zero(time_of(*fastest->layer)) - or_zero(time_of(*baseline->layer)), decimals));
    table.rows.push_back(row);
  };
  for (const std::string& name : names)
    add(escape_markdown(name), [&](const AttemptRecord& a) { return step_us(a, name); });
  add("**sum of steps**", steps_sum);
  add("layer - sum", [](const AttemptRecord& a) { return a.time_us.median - steps_sum(a); });
  add("**layer**", [](const AttemptRecord& a) { return a.time_us.median; });
  return to_markdown(table);
}

// Of the steps that the vendor's library was in the finals of: what their kernels gain over it.
std::string library_table(const VariantResult& v) {
  Table table{{"<step", "<taken", "us", "<against", "us", "change %", "95 % interval", "<verdict"},
              {}};
  for (size_t i = 0; i < v.rivals.size(); ++i) {
    if (!v.rivals[i]) continue;
    const Rival& r = *v.rivals[i];
    const StepTime& s = v.layer->steps[i];
    const int decimals = decimals_for(r.time_us.median);
    table.rows.push_back({escape_markdown(s.step), escape_markdown(choice_text(s.kernel, s.tile)),
                          number(r.chosen_us.median, decimals),
                          escape_markdown(choice_text(r.kernel, r.tile)),
                          number(r.time_us.median, decimals), percent(r.comparison.ratio),
                          percent_interval(r.comparison.ratio), to_name(r.comparison.verdict)});
  }
  if (table.rows.empty()) return "";
  return "The vendor's library and fselab's own kernels in the finals of its steps, each timed "
         "alone:\n\n" +
         to_markdown(table) + "\n";
}

std::string kernel_table(const AttemptRecord& a) {
  const int decimals = decimals_for(a.time_us.median / 10);
  Table table{{"<step", "time_us", "95 % interval", "share %", "x floor", "GB/s", "GFLOP/s",
               "<kernel", "<tile"},
              {}};
  for (const StepTime& s : a.steps) {
    const double us = s.time_us.median;
    table.rows.push_back({escape_markdown(s.step), number(us, decimals),
                          interval(s.time_us, decimals), number(100 * us / a.time_us.median, 1),
                          ratio_to(us, s.floor_us), number(s.bytes / us / 1e3, 1),
                          number(s.flops / us / 1e3, 1), escape_markdown(s.kernel),
                          escape_markdown(to_text(s.tile))});
  }
  return to_markdown(table);
}

std::string notes(const WorkloadResult& w, const Varying& say) {
  std::string text;
  for (const VariantResult& v : w.variants) {
    if (!v.layer) continue;
    const std::string name = label(v.record.spec.variant, say);
    if (v.layer->routing_agreement < 1)
      text += fmt::format(
          "- {}: {:.2f} % of the tokens chose the reference's experts; the others are near-ties.\n",
          name, 100 * v.layer->routing_agreement);
    if (v.layer->time_us.median * 1.02 < v.layer->floor_us)
      text += fmt::format("- {}: faster than its floor of {} us: suspect.\n", name,
                          number(v.layer->floor_us, decimals_for(v.layer->floor_us)));
    const VariantResult* baseline = w.baseline_of(v);
    if (baseline && baseline->layer && baseline->layer->environment != v.layer->environment)
      text += fmt::format("- {}: measured in another environment than its baseline.\n", name);
  }
  return text.empty() ? "" : text + "\n";
}

std::string load_text(const AttemptRecord& a) {
  if (!(a.distinct_experts > 0)) return "";
  return fmt::format(
      " Load: {:.1f} expert indices with work (mean over the rounds), the busiest with {:.1f} x "
      "the "
      "mean rows.",
      a.distinct_experts, a.max_over_mean_load);
}

// The fastest variant that is not itself a baseline.
const VariantResult* fastest_candidate(const WorkloadResult& w) {
  const VariantResult* best = nullptr;
  for (const VariantResult& v : w.variants)
    if (v.layer && !v.record.baseline &&
        (!best || v.layer->time_us.median < best->layer->time_us.median))
      best = &v;
  return best;
}

std::string breakdown(const WorkloadResult& w, const Varying& say) {
  const VariantResult* fastest = w.fastest();
  const VariantResult* other = fastest_candidate(w);
  const VariantResult* baseline = other ? w.baseline_of(*other) : fastest;
  std::string text;
  if (!measured(w).empty())
    text +=
        "Where the microseconds go (\"layer - sum\": launches and waits between the steps; "
        "negative where steps overlap):\n\n" +
        step_table(w, other, baseline, say) + "\n";
  for (const VariantResult* v : {other, baseline})
    if (v && v->layer && !v->layer->steps.empty())
      text += fmt::format("Kernels and tuned tiles of {}:\n\n{}\n{}",
                          label(v->record.spec.variant, say), kernel_table(*v->layer),
                          library_table(*v));
  return text;
}

}  // namespace

std::string workload_section(const WorkloadResult& w, const Varying& say, double delta) {
  std::string text = fmt::format("### tokens={}\n\n", w.tokens);
  const VariantResult* fastest = w.fastest();
  if (!fastest) return text + "Nothing was measured.\n\n";
  std::string baselines;
  for (const VariantResult& v : w.variants)
    if (v.record.baseline)
      baselines += (baselines.empty() ? "" : ", ") + label(v.record.spec.variant, say);
  text += fmt::format("Baseline: {}.{}\n\n", baselines.empty() ? "none in the sweep" : baselines,
                      load_text(*fastest->layer));
  return text + variant_table(w, say) + "\n" + notes(w, say) + selection_text(w, say, delta) +
         breakdown(w, say);
}

}  // namespace fse
