#pragma once
#include <vector>

#include "core/op.h"

namespace fse {

// Routing in float64, the rule every top-k kernel follows:
// - scores: softmax or sigmoid of the logits, sigmoid as below. A NaN logit keeps a NaN score and
//   is left out of the softmax; where the largest logit is +inf, the +inf entries share the weight;
//   a row without any logit above -inf scores 0 everywhere.
// - key of an expert: score + selection bias; -inf where the score is NaN.
// - groups by group score descending, then group id ascending; only kept groups are selectable.
// - experts by key descending, then id ascending: a total order, so ids are distinct and in range
//   whatever the logits are.
// - weight: the score without bias (0 where NaN); renormalised: divided by their sum + 1e-20, as
//   transformers does, so that scores that are all 0 give weights of 0; times the routed scaling
//   factor.
inline constexpr double kSumFloor = 1e-20;

// 0 from -87 down: below that float32 has subnormal numbers at best, which GPUs and transformers'
// 1 / (1 + exp(-x)) lose, each at a point of its own. NaN stays NaN.
double sigmoid(double logit);
Matrix routing_scores(const RoutingSpec&, const Matrix& logits);  // [tokens, experts]
Matrix selection_keys(const RoutingSpec&, const Matrix& scores, const float* bias);

// Score of one group, given one token's keys: its best, or the sum of its two best.
double group_score(const RoutingSpec&, const double* keys, int group);
// True for the experts of the kept groups, given one token's keys.
std::vector<bool> selectable(const RoutingSpec&, const double* keys);
// The chosen ids of one token, best first.
std::vector<int> select_experts(const RoutingSpec&, const double* keys);

}  // namespace fse
