#include "core/routing_model.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/rng.h"

namespace fse {
namespace {

std::vector<double> popularity(const RoutingPrior& prior, int experts) {
  std::vector<double> p(static_cast<size_t>(experts), 1.0);
  for (int e = 0; e < experts; ++e) {
    double& value = p[static_cast<size_t>(e)];
    if (prior.kind == PriorKind::zipf) value = std::pow(e + 1.0, -prior.parameter);
    // Quantiles of a Pareto distribution: 1 - F = (e + 1/2) / experts.
    if (prior.kind == PriorKind::power_law)
      value = std::pow((e + 0.5) / experts, -1 / prior.parameter);
    if (prior.kind == PriorKind::trace) value = prior.counts[static_cast<size_t>(e)];
  }
  return p;
}

double included(const std::vector<double>& p, double rate) {
  double sum = 0;
  for (const double value : p) sum += -std::expm1(-rate * value);
  return sum;
}

// Correlated tokens bring fewer independent choices.
double independent_tokens(const RoutingPrior& prior, int tokens) {
  return prior.kind == PriorKind::correlated ? 1 + (tokens - 1) * (1 - prior.parameter) : tokens;
}

double upper_tail(double mean, double variance, double at_least) {
  return 0.5 * std::erfc((at_least - 0.5 - mean) / std::sqrt(2 * std::max(variance, 1e-12)));
}

// E[min(ceil(M / block_m), most)] = sum over j < most of P(M > j * block_m), M binomial: exact
// while it is small, else normal.
double expected_blocks(double tokens, double chosen, int block_m, double most = INFINITY) {
  const double mean = tokens * chosen, variance = mean * (1 - chosen);
  if (chosen >= 1) return std::min(std::ceil(tokens / block_m), most);
  const double none = std::exp(tokens * std::log1p(-chosen));
  if (block_m == 1 && std::isinf(most)) return mean;
  double blocks = 1 - none;
  if (mean > 40) {
    for (double j = 1; j < most && j * block_m < mean + 8 * std::sqrt(variance) + 1; ++j)
      blocks += upper_tail(mean, variance, j * block_m + 1);
    return blocks;
  }
  double probability = none, below = none;
  for (int rows = 1; rows < mean + 12 * std::sqrt(mean) + 12 && rows <= tokens; ++rows) {
    probability *= (tokens - rows + 1) / rows * chosen / (1 - chosen);
    below += probability;
    if (rows % block_m == 0 && rows / block_m < most) blocks += std::max(0.0, 1 - below);
  }
  return blocks;
}

}  // namespace

std::vector<double> inclusion(const RoutingPrior& prior, int experts, int top_k) {
  check(experts > 0 && top_k > 0 && top_k <= experts, "top_k experts can be chosen");
  if (prior.kind == PriorKind::uniform || prior.kind == PriorKind::correlated || top_k == experts)
    return std::vector<double>(static_cast<size_t>(experts), double{1} * top_k / experts);
  std::vector<double> p = popularity(prior, experts);
  // Choosing without replacement as exponential clocks: an expert is in when its clock rings before
  // the time at which top_k of them have rung on average.
  double low = 0, high = 1;
  while (included(p, high) < top_k && high < 1e300) high *= 2;
  for (int i = 0; i < 200; ++i) {
    const double middle = (low + high) / 2;
    (included(p, middle) < top_k ? low : high) = middle;
  }
  for (double& value : p) value = -std::expm1(-high * value);
  return p;
}

ExpectedLoad expected_load(const RoutingPrior& prior, int experts, int top_k, int slots, int tokens,
                           int block_m) {
  return expected_load(prior, inclusion(prior, experts, top_k), slots, tokens, block_m);
}

ExpectedLoad expected_load(const RoutingPrior& prior, std::span<const double> all, int slots,
                           int tokens, int block_m, int dies) {
  check(tokens > 0 && block_m > 0, "a batch has rows");
  const double independent = independent_tokens(prior, tokens);
  ExpectedLoad load;
  double choices = slots;
  double last = -1, last_distinct = 0, last_blocks = 0, last_spread = 0;
  for (const double chosen : all) {
    choices += chosen;
    if (chosen != last) {
      last = chosen;
      last_distinct = chosen >= 1 ? 1 : -std::expm1(independent * std::log1p(-chosen));
      last_blocks =
          std::max(expected_blocks(independent, chosen, block_m), tokens * chosen / block_m);
      last_spread = dies == 1 ? last_distinct : expected_blocks(independent, chosen, block_m, dies);
    }
    load.distinct += last_distinct;
    load.blocks += last_blocks;
    load.spread += last_spread;
    load.busiest = std::max(load.busiest, tokens * chosen);
  }
  load.pairs = tokens * std::round(choices);  // probabilities sum to top_k
  load.distinct += slots;
  load.blocks += slots * std::ceil(double{1} * tokens / block_m);
  load.spread += slots * std::min(std::ceil(double{1} * tokens / block_m), double{1} * dies);
  if (slots > 0) load.busiest = tokens;
  return load;
}

SampledLoad sampled_load(const RoutingPrior& prior, int experts, int top_k, int slots, int tokens,
                         int block_m, int draws, uint64_t seed) {
  const std::vector<double> p = popularity(prior, experts);
  Rng rng(seed);
  SampledLoad result;
  double squares = 0;
  for (int draw = 0; draw < draws; ++draw) {
    std::vector<int> rows(static_cast<size_t>(experts), 0);
    std::vector<std::vector<int>> choices;
    for (int token = 0; token < tokens; ++token) {
      const bool repeats = prior.kind == PriorKind::correlated && !choices.empty() &&
                           rng.uniform() < prior.parameter;
      std::vector<int> ids;
      if (repeats) {
        ids = choices[static_cast<size_t>(rng.below(static_cast<int64_t>(choices.size())))];
      } else {
        std::vector<std::pair<double, int>> keys;  // Gumbel top-k: draws without replacement
        for (int e = 0; e < experts; ++e)
          keys.emplace_back(-std::log(p[static_cast<size_t>(e)]) - rng.gumbel(), e);
        std::partial_sort(keys.begin(), keys.begin() + top_k, keys.end());
        for (int k = 0; k < top_k; ++k) ids.push_back(keys[static_cast<size_t>(k)].second);
      }
      for (const int id : ids) ++rows[static_cast<size_t>(id)];
      choices.push_back(std::move(ids));
    }
    double distinct = slots, blocks = slots * std::ceil(double{1} * tokens / block_m);
    for (const int m : rows) {
      distinct += m > 0;
      blocks += std::ceil(double{1} * m / block_m);
    }
    result.mean.distinct += distinct / draws;
    result.mean.blocks += blocks / draws;
    result.mean.busiest +=
        (slots > 0 ? tokens : *std::max_element(rows.begin(), rows.end())) / double(draws);
    squares += distinct * distinct / draws;
  }
  result.mean.pairs = double{1} * tokens * (top_k + slots);
  const double variance = squares - result.mean.distinct * result.mean.distinct;
  result.distinct_error = std::sqrt(std::max(0.0, variance) / draws);
  return result;
}

}  // namespace fse
