#include "reports/markdown.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/counted.h"
#include "reports/aa_floor.h"
#include "reports/prediction.h"
#include "reports/slot_losses.h"
#include "reports/table.h"
#include "reports/variant_crossings.h"
#include "reports/workload_tables.h"

namespace fse {

namespace {

struct Fastest {
  const Series* series;
  const WorkloadResult* workload;
  const VariantResult* variant;
};

std::vector<Fastest> all_fastest(const ReportData& data) {
  std::vector<Fastest> all;
  for (const Series& s : data.series)
    for (const WorkloadResult& w : s.workloads)
      if (const VariantResult* v = w.fastest()) all.push_back({&s, &w, v});
  return all;
}

std::string headline(const Fastest& f, const Varying& say) {
  const Summary& time = f.variant->layer->time_us;
  const int decimals = decimals_for(time.median);
  std::string text =
      fmt::format("Fastest at tokens={} on {}: **{}**, {}", f.workload->tokens,
                  short_name(f.series->common, say), label(f.variant->record.spec.variant, say),
                  time_text(time, decimals));
  if (f.variant->record.baseline) return text + ": the baseline itself.";
  const VariantResult* baseline = f.workload->baseline_of(*f.variant);
  if (!baseline || !baseline->layer) return text + "; its baseline has no result (INVALID).";
  return text + fmt::format(", {} the baseline {}, {} ({}).",
                            change_text(f.variant->comparison, decimals),
                            label(baseline->record.spec.variant, say),
                            time_text(baseline->layer->time_us, decimals),
                            to_name(f.variant->comparison.verdict));
}

bool is_win(const Fastest& f) {
  return !f.variant->record.baseline && f.variant->comparison.verdict == Verdict::faster;
}

constexpr const char* kNoStudy =
    "The database holds no study yet; `fselab run SWEEP --db FILE` stores one.";

// The largest certain gain leads; without one, the first workload does.
std::string lead(const std::vector<Fastest>& all, const Varying& say) {
  if (all.empty()) return "Nothing was measured.\n\n";
  const Fastest* first = &all[0];
  for (const Fastest& f : all)
    if (is_win(f) && (!is_win(*first) ||
                      f.variant->comparison.ratio.median < first->variant->comparison.ratio.median))
      first = &f;
  std::string text = headline(*first, say);
  if (all.size() > 1) {
    const auto wins = std::count_if(all.begin(), all.end(), is_win);
    text += fmt::format(" In {} of {} workloads a variant is FASTER than the baseline{}", wins,
                        all.size(),
                        wins > 1    ? "; this is the largest gain."
                        : wins == 1 ? ": this one."
                                    : ".");
  }
  return text + "\n\n";
}

std::string summary(const std::vector<Fastest>& all, const Varying& say) {
  Table table{
      {"<workload", "tokens", "<fastest variant", "layer_time_us", "95 % interval", "<baseline",
       "baseline us", "change %", "change us", "<verdict", "rel_frobenius", "x floor"},
      {}};
  for (const Fastest& f : all) {
    const AttemptRecord& a = *f.variant->layer;
    const VariantResult* baseline = f.workload->baseline_of(*f.variant);
    const bool compared = baseline && baseline->layer;
    const int decimals =
        decimals_for(compared ? baseline->layer->time_us.median : a.time_us.median);
    const Comparison& c = f.variant->comparison;
    table.rows.push_back(
        {short_name(f.series->common, say), std::to_string(f.workload->tokens),
         label(f.variant->record.spec.variant, say), number(a.time_us.median, decimals),
         interval(a.time_us, decimals),
         baseline                     ? label(baseline->record.spec.variant, say)
         : f.variant->record.baseline ? "itself"
                                      : "none",
         compared ? number(baseline->layer->time_us.median, decimals) : "-",
         compared ? percent(c.ratio) : "-",
         compared ? signed_number(c.difference.median, decimals) : "-",
         f.variant->record.baseline ? "baseline" : to_name(c.verdict),
         error_text(a.outcome.accuracy.rel_frobenius),
         a.floor_us > 0 ? fmt::format("{:.2f}", a.time_us.median / a.floor_us) : "-"});
  }
  return "## Summary\n\n" + to_markdown(table) + "\n";
}

std::map<CaseState, int> count_states(const ReportData& data) {
  std::map<CaseState, int> states;
  for (const Series& s : data.series)
    for (const WorkloadResult& w : s.workloads)
      for (const VariantResult& v : w.variants) ++states[v.record.state];
  return states;
}

std::string how_to_read(const ReportData& data, const Varying& say) {
  std::string text = fmt::format(
      "Variants are gate/topk/shared{}{}. Times are medians of whole layers at their tuned tiles, "
      "in microseconds, with 95 % order-statistic intervals. A change is time relative to the "
      "baseline, so negative is faster; FASTER, SLOWER and SAME mean that its whole interval lies "
      "below, above or inside +-{:.0f} %. `x floor` is the time over what the bytes at the "
      "measured read bandwidth (where the cache is not warm), or the flops at the measured peak, "
      "take at least.\n\n",
      say.experts ? "/experts" : "", say.launch ? "/launch" : "", 100 * data.delta);
  if (data.comparisons > 1)
    text += fmt::format(
        "The {} comparisons are corrected together (Holm): FASTER and SLOWER also mean p < 0.05 "
        "after it.",
        data.comparisons);
  text += to_text(AaFloor{data.aa_floor, data.controls, data.failed_controls});
  if (data.failed_controls > 0)
    text += fmt::format(
        " {} of {} layers raced against themselves came out FASTER or SLOWER: nothing in their "
        "races is decided, all of it is UNDECIDED.",
        data.failed_controls, data.controls);
  text += "\n\n";
  const auto states = count_states(data);
  if (const auto pending = states.find(CaseState::pending); pending != states.end())
    text += fmt::format(
        "**Incomplete**: {} not run yet; the command below continues with what is left.\n\n",
        counted(pending->second, "case") + (pending->second == 1 ? " has" : " have"));
  return text;
}

// What no case shows: models that are refused, values that a layer has no use for.
std::string study_notes(const ReportData& data) {
  if (data.study.notes.empty()) return "";
  std::string text = "## Without a result\n\n";
  for (const std::string& note : data.study.notes) text += "- " + escape_markdown(note) + "\n";
  return text + "\n";
}

std::string failures(const ReportData& data) {
  if (data.failure_counts.empty()) return "";
  constexpr size_t kShown = 20;
  Table table{{"<level", "<kernel", "<status", "attempts", "<reason"}, {}};
  for (const Store::FailureCount& f : data.failure_counts) {
    if (table.rows.size() == kShown) break;
    table.rows.push_back({f.level, escape_markdown(f.kernel), f.status, std::to_string(f.attempts),
                          escape_markdown(f.reason)});
  }
  std::string text = "## Failed attempts\n\n" + to_markdown(table) + "\n";
  if (data.failure_counts.size() > kShown)
    text += fmt::format("{} more kinds: see the view v_failures.\n\n",
                        data.failure_counts.size() - kShown);
  return text;
}

std::string joined(const std::set<std::string>& values) {
  std::string text;
  for (const std::string& v : values) text += (text.empty() ? "" : ", ") + v;
  return text;
}

std::string seeds_and_devices(const ReportData& data, bool seeds) {
  std::set<std::string> values;
  for (const Series& s : data.series)
    values.insert(seeds ? std::to_string(s.common.seed) : s.common.device);
  return joined(values);
}

Table environment_table(const Environment& e) {
  const DeviceInfo& d = e.device;
  const double mib = 1024.0 * 1024.0;
  return {{"<environment", "<value"},
          {{"device", escape_markdown(d.name + " (" + d.arch + ")")},
           {"product", escape_markdown(d.product)},
           {"compute units used", std::to_string(d.compute_units)},
           {"last-level cache", fmt::format("{:.1f} MiB", static_cast<double>(d.llc_bytes) / mib)},
           {"read bandwidth, measured", fmt::format("{:.1f} GB/s", e.read_gbs)},
           {"f32 peak, measured", fmt::format("{:.1f} GFLOP/s", e.peak_gflops)},
           {"compiler", escape_markdown(e.compiler)},
           {"git revision", escape_markdown(e.git_revision)},
           {"operating system", escape_markdown(e.host_os)}}};
}

std::string provenance(const ReportData& data) {
  std::string attempts, cases;
  for (const Store::AttemptCount& c : data.attempt_counts)
    attempts +=
        fmt::format("{}{} {} {}", attempts.empty() ? "" : ", ", c.attempts, c.level, c.status);
  for (const auto& [state, n] : count_states(data))
    cases += fmt::format("{}{} {}", cases.empty() ? "" : ", ", n, to_name(state));
  const Table study{{"<study", "<value"},
                    {{"name", escape_markdown(data.study.name)},
                     {"created", escape_markdown(data.study.created)},
                     {"plan hash", escape_markdown(data.study.plan_hash)},
                     {"device in the sweep", escape_markdown(seeds_and_devices(data, false))},
                     {"seeds", seeds_and_devices(data, true)},
                     {"cases", cases},
                     {"attempts", attempts.empty() ? "none" : attempts}}};
  std::string text = "## Provenance\n\n" + to_markdown(study) + "\n";
  for (const Environment& e : data.environments) text += to_markdown(environment_table(e)) + "\n";
  text += "Reproduced by\n\n" + code_block(data.study.command, "sh") + "\nwith this sweep:\n\n" +
          code_block(data.study.yaml_text, "yaml");
  return text;
}

}  // namespace

std::string to_summary(const ReportData& data) {
  const Varying say = varying(data);
  const std::vector<Fastest> all = all_fastest(data);
  std::string text =
      "# " + escape_markdown(data.study.name) + "\n\n" + lead(all, say) + how_to_read(data, say);
  if (!all.empty()) text += summary(all, say);
  for (const Series& series : data.series) {
    const std::string missing = unmeasured_section(series, say);
    if (!missing.empty()) text += "## " + full_name(series.common, say) + "\n\n" + missing;
  }
  return text + study_notes(data);
}

std::string to_markdown(const ReportData& data) {
  if (data.study_id == 0) return fmt::format("# fselab report\n\n{}\n", kNoStudy);
  const Varying say = varying(data);
  const std::vector<Fastest> all = all_fastest(data);
  std::string text =
      "# " + escape_markdown(data.study.name) + "\n\n" + lead(all, say) + how_to_read(data, say);
  if (all.size() > 1) text += summary(all, say);
  text += slot_losses_section(data, say);
  for (const Series& series : data.series) {
    text += "## " + full_name(series.common, say) + "\n\n" + break_even_section(series, say) +
            crossings_section(series, say);
    for (const WorkloadResult& w : series.workloads) text += workload_section(w, say, data.delta);
    text += unmeasured_section(series, say);
  }
  return text + prediction_section(data, say) + study_notes(data) + failures(data) +
         provenance(data);
}

std::string headline_markdown(const ReportData& data) {
  if (data.study_id == 0) return kNoStudy;
  std::string text = lead(all_fastest(data), varying(data));
  text.erase(text.find_last_not_of('\n') + 1);
  return text;
}

}  // namespace fse
