#include "reports/variant_crossings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "reports/table.h"

namespace fse {
namespace {

const VariantResult* result_of(const WorkloadResult& w, const Variant& variant) {
  for (const VariantResult& v : w.variants)
    if (v.layer && v.record.spec.variant == variant) return &v;
  return nullptr;
}

// a over b at one token count: by round where one run measured both.
std::optional<Comparison> compared(const WorkloadResult& w, const Variant& a, const Variant& b) {
  const VariantResult *x = result_of(w, a), *y = result_of(w, b);
  if (!x || !y) return std::nullopt;
  const auto &us = x->layer->outcome.samples_us, &other = y->layer->outcome.samples_us;
  if (x->layer->run == y->layer->run && us.size() == other.size()) return compare_paired(us, other);
  Comparison c = compare_summaries(x->layer->time_us, y->layer->time_us);
  c.p = mann_whitney_p(us, other);
  return c;
}

std::vector<Variant> winners(const Series& series) {
  std::vector<Variant> all;
  for (const WorkloadResult& w : series.workloads) {
    const VariantResult* fastest = w.fastest();
    if (fastest && std::find(all.begin(), all.end(), fastest->record.spec.variant) == all.end())
      all.push_back(fastest->record.spec.variant);
  }
  return all;
}

// p is two-sided: half of it is the chance of a wrong sign.
Crossing crossing(const Variant& a, const Variant& b, int from, int to, const Comparison& before,
                  const Comparison& after) {
  const double x = before.ratio.median - 1, y = after.ratio.median - 1;
  const double lo = std::log(from), hi = std::log(to);
  return {.below = x < 0 ? a : b,
          .above = x < 0 ? b : a,
          .from = from,
          .to = to,
          .tokens = std::exp(lo + (hi - lo) * x / (x - y)),
          .confidence = std::max(0.0, 1 - (before.p + after.p) / 2)};
}

void add_crossings(const Series& series, const Variant& a, const Variant& b,
                   std::vector<Crossing>& all) {
  std::optional<Comparison> before;
  int from = 0;
  for (const WorkloadResult& w : series.workloads) {
    const std::optional<Comparison> now = compared(w, a, b);
    if (!now || !(now->ratio.median > 0)) continue;
    if (before && (before->ratio.median - 1) * (now->ratio.median - 1) < 0)
      all.push_back(crossing(a, b, from, w.tokens, *before, *now));
    before = now;
    from = w.tokens;
  }
}

}  // namespace

std::vector<Crossing> variant_crossings(const Series& series) {
  std::vector<Crossing> all;
  const std::vector<Variant> fastest = winners(series);
  for (size_t i = 0; i < fastest.size(); ++i)
    for (size_t k = i + 1; k < fastest.size(); ++k)
      add_crossings(series, fastest[i], fastest[k], all);
  std::stable_sort(all.begin(), all.end(),
                   [](const Crossing& a, const Crossing& b) { return a.tokens < b.tokens; });
  return all;
}

std::string crossings_section(const Series& series, const Varying& say) {
  const std::vector<Crossing> all = variant_crossings(series);
  if (all.empty()) return "";
  Table table{{"<faster below", "<faster above", "break-even tokens", "<between", "confidence %"},
              {}};
  for (const Crossing& c : all)
    table.rows.push_back({label(c.below, say), label(c.above, say), number(c.tokens, 1),
                          fmt::format("{} and {}", c.from, c.to), number(100 * c.confidence, 0)});
  return "### Break-even between variants\n\nOf those that are the fastest somewhere. The "
         "confidence "
         "is that each is the faster one at its measured end (sign tests by round).\n\n" +
         to_markdown(table) + "\n";
}

}  // namespace fse
