#include <fmt/format.h>

#include <cmath>
#include <map>
#include <set>

#include "reports/table.h"
#include "reports/workload_tables.h"

namespace fse {

namespace {

// One token count at which the fastest slot variant and its baseline were both measured.
struct Point {
  int tokens;
  const VariantResult* slot;
  const VariantResult* baseline;
  const VariantResult* overlapped;  // may be nullptr
};

std::vector<Point> points_of(const Series& series) {
  std::vector<Point> points;
  for (const WorkloadResult& w : series.workloads) {
    const VariantResult* slot = w.fastest(Shared::slot);
    const VariantResult* baseline = slot ? w.baseline_of(*slot) : nullptr;
    if (baseline && baseline->layer)
      points.push_back({w.tokens, slot, baseline, w.fastest(Shared::mlp_overlapped)});
  }
  return points;
}

// "FASTER at tokens=1 to 16, UNDECIDED at tokens=64, SLOWER at tokens=256 to 1024"
std::string stretches(const std::vector<Point>& points) {
  std::string text;
  for (size_t begin = 0, end = 0; begin < points.size(); begin = end) {
    const Verdict verdict = points[begin].slot->comparison.verdict;
    while (end < points.size() && points[end].slot->comparison.verdict == verdict) ++end;
    text += fmt::format("{}{} at tokens={}", text.empty() ? "" : ", ", to_name(verdict),
                        points[begin].tokens);
    if (end - begin > 1) text += fmt::format(" to {}", points[end - 1].tokens);
  }
  return text;
}

// Where the ratio crosses 1 between two measured token counts, straight in log(tokens).
std::string crossings(const std::vector<Point>& points) {
  std::string text;
  for (size_t i = 1; i < points.size(); ++i) {
    const double before = points[i - 1].slot->comparison.ratio.median - 1;
    const double after = points[i].slot->comparison.ratio.median - 1;
    if (!(before * after < 0)) continue;
    const double lo = std::log(points[i - 1].tokens), hi = std::log(points[i].tokens);
    text += fmt::format(
        " The medians cross near tokens={:.0f} (interpolated between {} and {}): {} from there on.",
        std::exp(lo + (hi - lo) * before / (before - after)), points[i - 1].tokens,
        points[i].tokens, after > 0 ? "slower" : "faster");
  }
  return text;
}

std::vector<std::string> row_of(const Point& p, const Varying& say) {
  const AttemptRecord& base = *p.baseline->layer;
  const int decimals = decimals_for(base.time_us.median);
  std::vector<std::string> row = {std::to_string(p.tokens),
                                  number(base.time_us.median, decimals),
                                  label(p.slot->record.spec.variant, say),
                                  number(p.slot->layer->time_us.median, decimals),
                                  percent(p.slot->comparison.ratio),
                                  signed_number(p.slot->comparison.difference.median, decimals),
                                  to_name(p.slot->comparison.verdict),
                                  error_text(p.slot->layer->outcome.accuracy.rel_frobenius)};
  if (!p.overlapped) {
    row.insert(row.end(), {"-", "-"});
    return row;
  }
  const double overlapped = p.overlapped->layer->time_us.median;
  row.push_back(number(overlapped, decimals));
  row.push_back(signed_number(100 * (p.slot->layer->time_us.median / overlapped - 1), 1));
  return row;
}

// Whatever is the same for all of them is one line of the table.
struct Unmeasured {
  std::string variant, state, reason;
  auto operator<=>(const Unmeasured&) const = default;
};

}  // namespace

std::string break_even_section(const Series& series, const Varying& say) {
  const std::vector<Point> points = points_of(series);
  if (points.size() < 2) return "";
  std::set<std::string> baselines;
  for (const Point& p : points) baselines.insert(label(p.baseline->record.spec.variant, say));
  std::string names;
  for (const std::string& name : baselines) names += (names.empty() ? "" : ", ") + name;
  Table table{{"tokens", "baseline us", "<fastest slot variant", "slot us", "change %", "change us",
               "<verdict", "slot rel_frobenius", "fastest mlp_overlapped us", "slot against it %"},
              {}};
  for (const Point& p : points) table.rows.push_back(row_of(p, say));
  return fmt::format(
      "### Break-even of the slot\n\nAgainst the baseline ({}), the fastest slot "
      "variant is {}.{}\n\n{}\n",
      names, stretches(points), crossings(points), to_markdown(table));
}

std::string unmeasured_section(const Series& series, const Varying& say) {
  std::map<Unmeasured, std::string> tokens;
  for (const WorkloadResult& w : series.workloads)
    for (const VariantResult& v : w.variants) {
      if (v.layer) continue;
      const bool done = v.record.state == CaseState::done;
      std::string& list = tokens[{label(v.record.spec.variant, say), to_name(v.record.state),
                                  done ? "no verified result" : v.record.reason}];
      list += fmt::format("{}{}", list.empty() ? "" : ", ", w.tokens);
    }
  if (tokens.empty()) return "";
  Table table{{"<variant", "<state", "<tokens", "<reason"}, {}};
  for (const auto& [what, list] : tokens)
    table.rows.push_back({what.variant, what.state, list, escape_markdown(what.reason)});
  return "### Without a result\n\n" + to_markdown(table) + "\n";
}

}  // namespace fse
