#include "core/prediction_error.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace fse {
namespace {

constexpr double kDecided = 2;  // percent: below it a gain's sign is within the noise

double percent(int64_t part, int64_t whole) {
  return whole > 0 ? 100.0 * static_cast<double>(part) / static_cast<double>(whole)
                   : std::numeric_limits<double>::quiet_NaN();
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? std::numeric_limits<double>::quiet_NaN()
                        : sum / static_cast<double>(values.size());
}

// Of sorted values, linear between its neighbours.
double quantile(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return std::numeric_limits<double>::quiet_NaN();
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

int64_t covered(std::span<const Prediction> all) {
  return std::count_if(all.begin(), all.end(),
                       [](const Prediction& p) { return p.interval.holds(p.measured); });
}

}  // namespace

ErrorSummary summarize_errors(std::span<const Prediction> all) {
  std::vector<double> errors;
  for (const Prediction& p : all) {
    check(p.measured > 0, "what is measured is positive");
    errors.push_back(std::abs(p.predicted / p.measured - 1) * 100);
  }
  std::sort(errors.begin(), errors.end());
  const auto n = static_cast<int64_t>(all.size());
  return {.n = n,
          .mean = mean_of(errors),
          .median = quantile(errors, 0.5),
          .p90 = quantile(errors, 0.9),
          .worst = quantile(errors, 1),
          .covered = percent(covered(all), n)};
}

GainSummary summarize_gains(std::span<const Prediction> all, std::span<const double> nearest) {
  check(nearest.empty() || nearest.size() == all.size(), "one nearest gain per gain, or none");
  std::vector<double> errors, none, copied;
  GainSummary result{.n = static_cast<int64_t>(all.size())};
  int64_t right = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    const Prediction& p = all[i];
    errors.push_back(std::abs(p.predicted - p.measured));
    none.push_back(std::abs(p.measured));
    if (!nearest.empty()) copied.push_back(std::abs(nearest[i] - p.measured));
    if (std::abs(p.measured) <= kDecided) continue;
    ++result.decided;
    right += (p.predicted > 0) == (p.measured > 0);
  }
  result.mean = mean_of(errors);
  std::sort(errors.begin(), errors.end());
  result.worst = quantile(errors, 1);
  result.sign_right = percent(right, result.decided);
  result.covered = percent(covered(all), result.n);
  result.no_gain = mean_of(none);
  result.nearest_gain = mean_of(copied);
  return result;
}

}  // namespace fse
