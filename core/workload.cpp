#include "core/workload.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/rng.h"
#include "core/trace.h"

namespace fse {
namespace {

std::vector<double> log_popularity(const RoutingDistribution& d, int experts, Rng& rng) {
  std::vector<double> log_p(static_cast<size_t>(experts), 0);
  std::vector<int> ids(static_cast<size_t>(experts));
  std::iota(ids.begin(), ids.end(), 0);
  shuffle(ids, rng);  // popularity does not follow the expert's id
  for (int rank = 0; rank < experts; ++rank) {
    double& value = log_p[static_cast<size_t>(ids[static_cast<size_t>(rank)])];
    if (d.kind == RoutingKind::zipf) value = -d.parameter * std::log(rank + 1.0);
    if (d.kind == RoutingKind::dirichlet)
      value = std::log(std::max(rng.gamma(d.parameter), 1e-300));
  }
  return log_p;
}

// The k largest of `keys`, best first.
std::vector<int> largest(const std::vector<double>& keys, int k) {
  std::vector<int> order(keys.size());
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](int a, int b) {
    return keys[static_cast<size_t>(a)] > keys[static_cast<size_t>(b)];
  });
  order.resize(static_cast<size_t>(k));
  return order;
}

// Adding Gumbel noise to log weights and taking the k largest samples k without replacement, each
// draw in proportion to the weights that are left (Kool, van Hoof, Welling 2019). Groups are drawn
// first, by the weight of their experts together.
std::vector<int> draw_row(const RoutingSpec& r, const std::vector<double>& log_p, Rng& rng) {
  std::vector<double> keys(log_p);
  for (double& key : keys) key += rng.gumbel();
  if (r.groups == r.groups_kept) return largest(keys, r.top_k);
  const int width = r.experts / r.groups;
  std::vector<double> group_keys;
  for (int g = 0; g < r.groups; ++g) {
    double weight = 0;
    for (int e = g * width; e < (g + 1) * width; ++e)
      weight += std::exp(log_p[static_cast<size_t>(e)]);
    group_keys.push_back(std::log(weight) + rng.gumbel());
  }
  std::vector<double> kept(keys.size(), -INFINITY);
  for (int g : largest(group_keys, r.groups_kept))
    std::copy_n(keys.begin() + g * width, width, kept.begin() + g * width);
  return largest(kept, r.top_k);
}

float bf16_exact(double value) {
  return from_bf16(to_bf16(static_cast<float>(value)));
}

}  // namespace

Matrix draw_routing(const LayerSpec& layer, const RoutingDistribution& distribution, int tokens,
                    uint64_t seed) {
  const RoutingSpec& r = layer.routing;
  Rng rng(seed);
  if (distribution.kind == RoutingKind::trace)
    return draw_trace(r, distribution.trace, tokens, rng);
  const std::vector<double> log_p = log_popularity(distribution, r.experts, rng);
  Matrix ids(tokens, r.top_k);
  for (int t = 0; t < tokens; ++t) {
    const std::vector<int> row = draw_row(r, log_p, rng);
    for (int j = 0; j < r.top_k; ++j) ids(t, j) = row[static_cast<size_t>(j)];
  }
  return ids;
}

// With w_e the chosen router rows and x = sum of c_j * w_j / |w_j|^2, the logit of a chosen expert
// is c_j plus the others' overlap with it. Random rows of length H overlap by about sqrt(k / H) *
// c: k=10, H=2048: 0.07 * 3 = 0.2, against c from 3 down to 2 for chosen and 0 for other experts.
std::vector<float> plant_input(const LayerWeights& weights, const Matrix& ids, uint64_t seed) {
  const LayerSpec& layer = weights.layer;
  const WeightMatrix router = router_matrix(weights, 0, layer.routing.experts);
  const Eigen::VectorXd squares = router.rowwise().squaredNorm();
  const auto top_k = static_cast<double>(ids.cols());
  Rng rng(seed ^ 0x706c616e74);  // another stream than draw_routing's
  std::vector<float> x(static_cast<size_t>(ids.rows() * layer.hidden));
  Eigen::VectorXd row(layer.hidden);
  // Noise of one tenth of a chosen direction's norm keeps every element busy.
  const double noise = 0.1 / std::sqrt(static_cast<double>(layer.hidden));
  for (Eigen::Index t = 0; t < ids.rows(); ++t) {
    for (double& value : row) value = noise * 3.46 * (rng.uniform() - 0.5);  // variance noise^2
    for (Eigen::Index j = 0; j < ids.cols(); ++j) {
      const auto expert = static_cast<Eigen::Index>(ids(t, j));
      if (squares[expert] == 0) continue;  // such a router row cannot be chosen on purpose
      row +=
          (3 - static_cast<double>(j) / top_k) / squares[expert] * router.row(expert).transpose();
    }
    for (Eigen::Index i = 0; i < row.size(); ++i)
      x[static_cast<size_t>(t * layer.hidden + i)] = bf16_exact(row[i]);
  }
  return x;
}

std::vector<float> random_input(int tokens, int hidden, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> x(static_cast<size_t>(int64_t{tokens} * hidden));
  for (float& value : x) value = bf16_exact(rng.normal());
  return x;
}

double expected_distinct(const RoutingSpec& r, int tokens) {
  return r.experts * (1 - std::pow(1 - static_cast<double>(r.top_k) / r.experts, tokens));
}

int sets_for_rotation(int64_t touched_bytes, int64_t llc_bytes, Cache cache) {
  if (cache == Cache::warm) return 1;
  const int64_t touched = std::max<int64_t>(touched_bytes, 1);
  return static_cast<int>(std::max<int64_t>(2, 1 + (2 * llc_bytes + touched - 1) / touched));
}

}  // namespace fse
