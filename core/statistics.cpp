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
    return {none, none};
  std::vector<double> ratios, differences;
  for (size_t i = 0; i < candidate.size(); ++i) {
    ratios.push_back(candidate[i] / baseline[i]);
    differences.push_back(candidate[i] - baseline[i]);
  }
  Comparison c{summarize(ratios), summarize(differences)};
  c.verdict = judge(c.ratio, delta);
  c.p = sign_test_p(ratios);
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
                .n = n}};
  if (candidate.lo > 0 && baseline.lo > 0) c.verdict = judge(c.ratio, delta);
  return c;
}

double sign_test_p(std::span<const double> ratios) {
  const auto above = std::count_if(ratios.begin(), ratios.end(), [](double r) { return r > 1; });
  const auto below = std::count_if(ratios.begin(), ratios.end(), [](double r) { return r < 1; });
  const auto n = static_cast<double>(above + below);
  double tail = 0;  // P(Binomial(n, 1/2) <= min(above, below)), by logarithms: n may be thousands
  for (int64_t k = 0; k <= std::min(above, below); ++k) {
    const auto at = static_cast<double>(k);
    tail += std::exp(std::lgamma(n + 1) - std::lgamma(at + 1) - std::lgamma(n - at + 1) -
                     n * std::log(2.0));
  }
  return std::min(1.0, 2 * tail);
}

double mann_whitney_p(std::span<const double> a, std::span<const double> b) {
  std::vector<std::pair<double, bool>> all;  // value, whether it is of a
  for (const double v : a) all.emplace_back(v, true);
  for (const double v : b) all.emplace_back(v, false);
  std::sort(all.begin(), all.end());
  const auto n = static_cast<double>(all.size()), na = static_cast<double>(a.size()),
             nb = static_cast<double>(b.size());
  double rank_sum = 0, ties = 0;
  for (size_t begin = 0, end = 0; begin < all.size(); begin = end) {
    while (end < all.size() && all[end].first == all[begin].first) ++end;
    const auto size = static_cast<double>(end - begin);
    ties += size * (size * size - 1);
    const double rank = static_cast<double>(begin + end + 1) / 2;  // mean of the 1-based ranks
    for (size_t i = begin; i < end; ++i) rank_sum += all[i].second ? rank : 0;
  }
  if (na == 0 || nb == 0) return 1;
  const double variance = na * nb / 12 * ((n + 1) - ties / (n * (n - 1)));
  if (!(variance > 0)) return 1;
  const double u = std::fabs(rank_sum - na * (na + 1) / 2 - na * nb / 2) - 0.5;
  return std::min(1.0, std::erfc(std::max(0.0, u) / std::sqrt(2 * variance)));
}

std::vector<double> holm(std::span<const double> p) {
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t x, size_t y) { return p[x] < p[y]; });
  std::vector<double> adjusted(p.size());
  double largest = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    largest = std::max(largest, std::min(1.0, p[order[i]] * static_cast<double>(p.size() - i)));
    adjusted[order[i]] = largest;
  }
  return adjusted;
}

bool is_difference(Verdict v) {
  return v == Verdict::faster || v == Verdict::slower;
}

bool contradict(Verdict a, Verdict b) {
  return is_difference(a) && is_difference(b) && a != b;
}

void correct_all(std::span<Comparison* const> all) {
  std::vector<double> p;
  for (const Comparison* c : all) p.push_back(c->p);
  const std::vector<double> adjusted = holm(p);
  for (size_t i = 0; i < all.size(); ++i) {
    all[i]->p_holm = adjusted[i];
    if (is_difference(all[i]->verdict) && !(adjusted[i] < kMissed))
      all[i]->verdict = Verdict::undecided;
  }
}

}  // namespace fse
