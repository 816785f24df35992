#include <cmath>

#include "core/routing.h"
#include "tuner/verify.h"

namespace fse {

Logits logits_of(const LayerWeights& weights, const Matrix& x) {
  const LayerSpec& layer = weights.layer;
  const WeightMatrix router = router_matrix(weights, 0, layer.routing.experts + layer.gate_rows());
  const Matrix values = x * router.transpose();
  const Matrix terms = x.cwiseAbs2() * router.cwiseAbs2().transpose();
  const Matrix squares = (2 * values.cwiseAbs2() + terms) / 3;
  return {values, squares.cwiseSqrt()};
}

namespace {

// Moves the logarithm of a weight: its own score by `own`, and all scores of the sum that weights
// are divided by, each by its `share` of it.
struct Mover {
  double own, share;
};

// The softmax divides by all exponentials already; dividing by the sum of the chosen ones replaces
// that sum by theirs.
std::vector<Mover> movers_of(const RoutingSpec& r, const Logits& logits, const Matrix& scores,
                             const std::vector<Eigen::Index>& chosen, Eigen::Index t) {
  const bool softmax = r.score == ScoreFunction::softmax;
  double sum = 0;
  for (const Eigen::Index e : chosen) sum += scores(t, e);
  std::vector<Mover> movers;
  for (const Eigen::Index e : chosen) {
    const double score = scores(t, e);
    const double slope = softmax ? 1 : 1 - score;
    const double share = r.renormalize ? score / sum : softmax ? score : 0;
    movers.push_back({slope * logits.sizes(t, e), share});
  }
  return movers;
}

// Root mean square over the chosen experts, each counted as its output is.
double effect_on_token(const RoutingSpec& r, const Logits& logits, const Matrix& scores,
                       const std::vector<Eigen::Index>& chosen, Eigen::Index t) {
  const std::vector<Mover> movers = movers_of(r, logits, scores, chosen, t);
  double through_sum = 0, moved = 0, all = 0;
  for (const Mover& m : movers) through_sum += m.share * m.share * m.own * m.own;
  for (size_t j = 0; j < movers.size(); ++j) {
    const auto [own, share] = movers[j];
    const double weight = scores(t, chosen[j]) * scores(t, chosen[j]);
    moved += weight * (through_sum + (1 - 2 * share) * own * own);  // (1 - share)^2 for its own
    all += weight;
  }
  return all > 0 ? std::sqrt(moved / all) : 0;
}

}  // namespace

double gate_effect(const LayerSpec& layer, const Logits& logits, const Matrix& scores,
                   const Matrix& ids) {
  double largest = 0;
  for (Eigen::Index t = 0; t < ids.rows(); ++t) {
    std::vector<Eigen::Index> chosen;
    for (int j = 0; j < layer.routing.top_k; ++j)
      chosen.push_back(static_cast<Eigen::Index>(ids(t, j)));
    const double routed = effect_on_token(layer.routing, logits, scores, chosen, t);
    const Eigen::Index gate = layer.routing.experts;
    const double shared =
        layer.gate_rows() > 0 ? (1 - sigmoid(logits.values(t, gate))) * logits.sizes(t, gate) : 0;
    for (const double effect : {routed, shared})
      if (effect > largest) largest = effect;  // false for NaN: such a token has no output
  }
  return largest;
}

}  // namespace fse
