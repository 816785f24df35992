#include "core/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace fse {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kMissed = 0.05;  // what a 95 % interval may miss, both tails together

double middle_of_sorted(const std::vector<double>& sorted) {
  const size_t half = sorted.size() / 2;
  return sorted.size() % 2 ? sorted[half] : std::midpoint(sorted[half - 1], sorted[half]);
}

bool positive_and_finite(std::span<const double> samples) {
  return std::all_of(samples.begin(), samples.end(),
                     [](double s) { return std::isfinite(s) && s > 0; });
}

Verdict judge(const Summary& ratio, double delta) {
  if (!std::isfinite(ratio.lo) || !std::isfinite(ratio.hi)) return Verdict::invalid;
  if (ratio.hi < 1 - delta) return Verdict::faster;
  if (ratio.lo > 1 + delta) return Verdict::slower;
  if (ratio.lo >= 1 - delta && ratio.hi <= 1 + delta) return Verdict::same;
  return Verdict::undecided;
}

}  // namespace

// The median lies below the l-th smallest of n samples with probability P(Binomial(n, 1/2) < l).
// The sum runs over binomial weights relative to the middle one, downwards, until they vanish: no
// factorials, so it is exact for small n and takes about 5 sqrt(n) steps for large n.
Ranks median_interval_ranks(int64_t n) {
  if (n < 6) return {0, 0};
  const int64_t centre = n / 2;
  std::vector<double> weights;  // of k = centre, centre - 1, ...
  double weight = 1;
  for (int64_t k = centre; k >= 0 && weight > 1e-25; --k) {
    weights.push_back(weight);
    weight *= static_cast<double>(k) / static_cast<double>(n - k + 1);
  }
  double half = 0;
  for (auto w = weights.rbegin(); w != weights.rend(); ++w) half += *w;
  const double total = n % 2 ? 2 * half : 2 * half - 1;  // even n: the middle weight is there once

  int64_t k = centre - static_cast<int64_t>(weights.size()) + 1;
  double tail = 0;
  for (auto w = weights.rbegin(); w != weights.rend(); ++w, ++k) {
    tail += *w;
    if (2 * tail > kMissed * total) break;
  }
  return {k, n + 1 - k};  // k - 1 samples fit into the tail, so the interval begins at the k-th
}

double median(std::span<const double> samples) {
  return summarize(samples).median;
}

Summary summarize(std::span<const double> samples) {
  Summary s{.median = kNaN, .lo = kNaN, .hi = kNaN, .n = static_cast<int64_t>(samples.size())};
  if (samples.empty() ||
      std::any_of(samples.begin(), samples.end(), [](double x) { return std::isnan(x); }))
    return s;
  std::vector<double> sorted(samples.begin(), samples.end());
  std::sort(sorted.begin(), sorted.end());
  s.median = middle_of_sorted(sorted);
  const Ranks ranks = median_interval_ranks(s.n);
  if (ranks.lo == 0) return s;
  s.lo = sorted[static_cast<size_t>(ranks.lo - 1)];
  s.hi = sorted[static_cast<size_t>(ranks.hi - 1)];
  return s;
}

Comparison compare_paired(std::span<const double> candidate, std::span<const double> baseline,
                          double delta) {
  const Summary none{.median = kNaN, .lo = kNaN, .hi = kNaN, .n = 0};
  if (candidate.size() != baseline.size() || !positive_and_finite(candidate) ||
      !positive_and_finite(baseline))
    return {none, none, Verdict::invalid};
  std::vector<double> ratios, differences;
  for (size_t i = 0; i < candidate.size(); ++i) {
    ratios.push_back(candidate[i] / baseline[i]);
    differences.push_back(candidate[i] - baseline[i]);
  }
  Comparison c{summarize(ratios), summarize(differences), Verdict::invalid};
  c.verdict = judge(c.ratio, delta);
  return c;
}

Comparison compare_summaries(const Summary& candidate, const Summary& baseline, double delta) {
  const int64_t n = std::min(candidate.n, baseline.n);
  Comparison c{{.median = candidate.median / baseline.median,
                .lo = candidate.lo / baseline.hi,
                .hi = candidate.hi / baseline.lo,
                .n = n},
               {.median = candidate.median - baseline.median,
                .lo = candidate.lo - baseline.hi,
                .hi = candidate.hi - baseline.lo,
                .n = n},
               Verdict::invalid};
  if (candidate.lo > 0 && baseline.lo > 0) c.verdict = judge(c.ratio, delta);
  return c;
}

}  // namespace fse
