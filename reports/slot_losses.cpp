#include "reports/slot_losses.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "reports/table.h"

namespace fse {

namespace {

constexpr const char* kRest = "launches and waits";

struct Fight {
  const Series* series;
  const WorkloadResult* workload;
  const VariantResult& slot() const { return workload->variants[workload->duel->slot]; }
  const VariantResult& other() const { return workload->variants[workload->duel->other]; }
  const VariantResult& slot_steps() const { return workload->variants[workload->duel->slot_steps]; }
  const VariantResult& other_steps() const {
    return workload->variants[workload->duel->other_steps];
  }
  const Comparison& comparison() const { return workload->duel->comparison; }
};

std::vector<Fight> fights_of(const ReportData& data) {
  std::vector<Fight> all;
  for (const Series& s : data.series)
    for (const WorkloadResult& w : s.workloads)
      if (w.duel) all.push_back({&s, &w});
  return all;
}

int decimals_of(const Fight& f) {
  return decimals_for(f.other().layer->time_us.median);
}

// "grouped_stage1 +1.2, combine +0.3": those that cost more than 0.5 % of the layer, at most three.
std::string largest(const std::vector<StepChange>& changes, double layer_us, bool costs) {
  std::string text;
  int said = 0;
  const auto say = [&](const StepChange& c) {
    const double cost = costs ? c.change_us : -c.change_us;
    if (cost < 0.005 * layer_us || said == 3) return;
    ++said;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", escape_markdown(c.step),
                        signed_number(c.change_us, decimals_for(layer_us)));
  };
  if (costs)
    std::for_each(changes.begin(), changes.end(), say);
  else
    std::for_each(changes.rbegin(), changes.rend(), say);
  return text.empty() ? "-" : text;
}

std::string loss_table(const std::vector<Fight>& losses, const Varying& say) {
  Table table{{"<workload", "tokens", "<slot variant", "slot us", "<baseline: the fastest other",
               "its us", "change %", "95 % interval", "change us", "<verdict", "rel_frobenius",
               "<costs more, us", "<saves, us"},
              {}};
  for (const Fight& f : losses) {
    const AttemptRecord &slot = *f.slot().layer, &other = *f.other().layer;
    const int decimals = decimals_of(f);
    const auto changes = account_for(*f.slot_steps().layer, *f.other_steps().layer);
    const double layer_us = other.time_us.median;
    table.rows.push_back(
        {short_name(f.series->common, say), std::to_string(f.workload->tokens),
         label(f.slot().record.spec.variant, say), number(slot.time_us.median, decimals),
         label(f.other().record.spec.variant, say), number(layer_us, decimals),
         percent(f.comparison().ratio), percent_interval(f.comparison().ratio),
         signed_number(f.comparison().difference.median, decimals), to_name(f.comparison().verdict),
         error_text(slot.outcome.accuracy.rel_frobenius), largest(changes, layer_us, true),
         largest(changes, layer_us, false)});
  }
  return to_markdown(table);
}

std::string account_table(const Fight& f, const Varying& say) {
  const AttemptRecord &slot = *f.slot_steps().layer, &other = *f.other_steps().layer;
  const int decimals = decimals_for(other.time_us.median / 10);
  Table table{{"<step", label(f.other_steps().record.spec.variant, say) + " us (baseline)",
               label(f.slot_steps().record.spec.variant, say) + " us", "change us"},
              {}};
  const auto add = [&](const std::string& name, double before, double after, double change) {
    table.rows.push_back(
        {name, number(before, decimals), number(after, decimals), signed_number(change, decimals)});
  };
  for (const StepChange& c : account_for(slot, other))
    add(escape_markdown(c.step), c.other_us, c.us, c.change_us);
  add("**layer**", other.time_us.median, slot.time_us.median,
      slot.time_us.median - other.time_us.median);
  return to_markdown(table);
}

// "qwen3-next-80b-a3b bf16: FASTER at tokens=1 to 4, SLOWER at tokens=64 to 256"
std::string stretches_of(const Series& series, const Varying& say) {
  std::string text;
  const std::vector<WorkloadResult>& all = series.workloads;
  for (size_t begin = 0, end = 0; begin < all.size(); begin = std::max(end, begin + 1)) {
    if (!all[begin].duel) continue;
    const Verdict verdict = all[begin].duel->comparison.verdict;
    end = begin;
    while (end < all.size() && all[end].duel && all[end].duel->comparison.verdict == verdict) ++end;
    text += fmt::format("{}{} at tokens={}", text.empty() ? "" : ", ", to_name(verdict),
                        all[begin].tokens);
    if (end - begin > 1) text += fmt::format(" to {}", all[end - 1].tokens);
  }
  return text.empty() ? "" : fmt::format("- {}: {}\n", short_name(series.common, say), text);
}

const Fight& closest(const std::vector<Fight>& all) {
  return *std::max_element(all.begin(), all.end(), [](const Fight& a, const Fight& b) {
    return a.comparison().ratio.median < b.comparison().ratio.median;
  });
}

}  // namespace

std::vector<StepChange> account_for(const AttemptRecord& layer, const AttemptRecord& other) {
  std::vector<StepChange> all;
  const auto at = [&](const std::string& step) -> StepChange& {
    for (StepChange& c : all)
      if (c.step == step) return c;
    return all.emplace_back(StepChange{.step = step});
  };
  StepChange rest{.step = kRest, .other_us = other.time_us.median, .us = layer.time_us.median};
  for (const StepTime& s : other.steps) {
    at(s.step).other_us += s.time_us.median;
    rest.other_us -= s.time_us.median;
  }
  for (const StepTime& s : layer.steps) {
    at(s.step).us += s.time_us.median;
    rest.us -= s.time_us.median;
  }
  for (StepChange& c : all) c.change_us = c.us - c.other_us;
  std::stable_sort(all.begin(), all.end(), [](const StepChange& a, const StepChange& b) {
    return a.change_us > b.change_us;
  });
  rest.change_us = rest.us - rest.other_us;
  all.push_back(rest);
  return all;
}

std::string slot_losses_section(const ReportData& data, const Varying& say) {
  constexpr size_t kAccounts = 12;
  const std::vector<Fight> fights = fights_of(data);
  if (fights.empty()) return "";
  std::vector<Fight> losses;
  for (const Fight& f : fights)
    if (f.comparison().verdict == Verdict::slower) losses.push_back(f);
  std::string text =
      "## Where the slot loses\n\nThe fastest slot variant against the fastest variant of any "
      "other "
      "kind, which is the baseline here; corrected with all other comparisons:\n\n";
  for (const Series& series : data.series) text += stretches_of(series, say);
  if (losses.empty()) {
    const Fight& near = closest(fights);
    return text + fmt::format(
                      "\nIt is SLOWER in 0 of {} workloads, and comes closest at tokens={} of {}: "
                      "{} {}.\n\n",
                      fights.size(), near.workload->tokens, short_name(near.series->common, say),
                      change_text(near.comparison(), decimals_of(near)),
                      label(near.other().record.spec.variant, say));
  }
  text += fmt::format(
      "\n{}\nSteps are timed each by itself: \"{}\" is the layer less its steps, negative where "
      "steps or their launches overlap. A variant that is a single launch is accounted for by the "
      "fastest of its kind that is several.\n\n",
      loss_table(losses, say), kRest);
  for (size_t i = 0; i < std::min(losses.size(), kAccounts); ++i)
    text += fmt::format("What it costs at tokens={} of {}, step by step:\n\n{}\n",
                        losses[i].workload->tokens, short_name(losses[i].series->common, say),
                        account_table(losses[i], say));
  if (losses.size() > kAccounts)
    text += fmt::format("{} more: `fselab db steps ATTEMPT` has the steps of each.\n\n",
                        losses.size() - kAccounts);
  return text;
}

}  // namespace fse
