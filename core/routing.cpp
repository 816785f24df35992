#include "core/routing.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace fse {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

void softmax_row(const double* logits, double* scores, int n) {
  double largest = -kInf;
  for (int e = 0; e < n; ++e)
    if (!std::isnan(logits[e])) largest = std::max(largest, logits[e]);
  double sum = 0;
  for (int e = 0; e < n; ++e) {
    const bool at_infinity = largest == kInf && logits[e] == kInf;
    scores[e] = at_infinity ? 1 : largest == -kInf ? 0 : std::exp(logits[e] - largest);
    if (std::isnan(logits[e])) scores[e] = logits[e];
    if (!std::isnan(scores[e])) sum += scores[e];
  }
  if (sum == 0) return;
  for (int e = 0; e < n; ++e) scores[e] /= sum;
}

// Descending by value, then ascending by index.
std::vector<int> best_first(const std::vector<double>& values) {
  std::vector<int> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return values[static_cast<size_t>(a)] > values[static_cast<size_t>(b)];
  });
  return order;
}

}  // namespace

double sigmoid(double logit) {
  return logit <= -87 ? 0 : 1 / (1 + std::exp(-logit));
}

Matrix routing_scores(const RoutingSpec& r, const Matrix& logits) {
  Matrix scores(logits.rows(), r.experts);
  for (Eigen::Index t = 0; t < logits.rows(); ++t) {
    if (r.score == ScoreFunction::softmax) {
      softmax_row(logits.row(t).data(), scores.row(t).data(), r.experts);
      continue;
    }
    for (int e = 0; e < r.experts; ++e) scores(t, e) = sigmoid(logits(t, e));
  }
  return scores;
}

Matrix selection_keys(const RoutingSpec& r, const Matrix& scores, const float* bias) {
  Matrix keys(scores.rows(), r.experts);
  for (Eigen::Index t = 0; t < scores.rows(); ++t)
    for (int e = 0; e < r.experts; ++e) {
      const double score = scores(t, e);
      keys(t, e) = std::isnan(score) ? -kInf : score + (bias ? double{bias[e]} : 0.0);
    }
  return keys;
}

double group_score(const RoutingSpec& r, const double* keys, int group) {
  const int width = r.experts / r.groups;
  std::vector<double> members(keys + group * width, keys + (group + 1) * width);
  std::sort(members.begin(), members.end(), std::greater<>());
  const bool two = r.group_score == GroupScore::sum_of_top2 && width > 1;
  return two ? members[0] + members[1] : members[0];
}

std::vector<bool> selectable(const RoutingSpec& r, const double* keys) {
  std::vector<bool> allowed(static_cast<size_t>(r.experts), r.groups == 1);
  if (r.groups == 1) return allowed;
  std::vector<double> scores;
  for (int g = 0; g < r.groups; ++g) scores.push_back(group_score(r, keys, g));
  const std::vector<int> order = best_first(scores);
  const int width = r.experts / r.groups;
  for (int i = 0; i < r.groups_kept; ++i)
    for (int e = 0; e < width; ++e)
      allowed[static_cast<size_t>(order[static_cast<size_t>(i)] * width + e)] = true;
  return allowed;
}

std::vector<int> select_experts(const RoutingSpec& r, const double* keys) {
  const std::vector<bool> allowed = selectable(r, keys);
  std::vector<int> ids;
  for (int e : best_first(std::vector<double>(keys, keys + r.experts))) {
    if (allowed[static_cast<size_t>(e)]) ids.push_back(e);
    if (static_cast<int>(ids.size()) == r.top_k) break;
  }
  return ids;
}

}  // namespace fse
