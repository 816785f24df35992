#include <cmath>

#include "core/error.h"
#include "core/op_reference.h"
#include "core/routing.h"

namespace fse::reference {

void gate_gemm(const LayerPlan&, const Step& step, const LayerWeights& weights, RefState& state) {
  const WeightMatrix rows = router_matrix(weights, step.row_begin, step.row_end);
  state[step.writes[0]] = product(state[Buf::x], rows);
}

void score(const LayerPlan& plan, const Step&, const LayerWeights&, RefState& state) {
  state[Buf::scores] = routing_scores(plan.layer.routing, state[Buf::router_logits]);
}

namespace {

double weight_of(double score) {
  return std::isnan(score) ? 0 : score;
}

void resize_choices(const LayerPlan& plan, RefState& state) {
  state[Buf::topk_ids] = Matrix::Constant(plan.tokens, plan.choices(), -1);
  state[Buf::topk_weights] = Matrix::Zero(plan.tokens, plan.choices());
}

void select_from(const LayerPlan& plan, const LayerWeights& weights, const Matrix& scores,
                 RefState& state) {
  const RoutingSpec& routing = plan.layer.routing;
  const Matrix keys = selection_keys(routing, scores, weights.selection_bias);
  resize_choices(plan, state);
  for (int t = 0; t < plan.tokens; ++t) {
    const std::vector<int> ids = select_experts(routing, keys.row(t).data());
    for (int j = 0; j < routing.top_k; ++j) {
      const int id = ids[static_cast<size_t>(j)];
      state[Buf::topk_ids](t, j) = id;
      state[Buf::topk_weights](t, j) = weight_of(scores(t, id));
    }
  }
}

void weigh_routed(const LayerPlan& plan, RefState& state) {
  const RoutingSpec& routing = plan.layer.routing;
  auto routed = state[Buf::topk_weights].leftCols(routing.top_k);
  for (int t = 0; routing.renormalize && t < plan.tokens; ++t)
    routed.row(t) /= routed.row(t).sum() + kSumFloor;
  routed *= routing.scaling;
}

void append_slots(const LayerPlan& plan, const Matrix* shared_weight, RefState& state) {
  const int top_k = plan.layer.routing.top_k;
  for (int t = 0; t < plan.tokens; ++t)
    for (int s = 0; s < plan.shard.slots; ++s) {
      state[Buf::topk_ids](t, top_k + s) = plan.layer.routing.experts + s;
      state[Buf::topk_weights](t, top_k + s) =
          shared_weight ? (*shared_weight)(t, 0) : plan.layer.shared.constant;
    }
}

Matrix shared_sigmoid(const LayerPlan& plan, const RefState& state) {
  const bool fused = plan.variant.gate == Gate::fused;
  const Matrix logits = fused ? Matrix(state[Buf::router_logits].col(plan.layer.routing.experts))
                              : state[Buf::shared_logits];
  return logits.unaryExpr(&sigmoid);
}

}  // namespace

void select(const LayerPlan& plan, const Step&, const LayerWeights& weights, RefState& state) {
  select_from(plan, weights, state[Buf::scores], state);
}

void renormalize(const LayerPlan& plan, const Step&, const LayerWeights&, RefState& state) {
  weigh_routed(plan, state);
}

void shared_activation(const LayerPlan& plan, const Step&, const LayerWeights&, RefState& state) {
  state[Buf::shared_weight] = shared_sigmoid(plan, state);
}

void slot_append(const LayerPlan& plan, const Step&, const LayerWeights&, RefState& state) {
  append_slots(plan, plan.layer.gate_rows() ? &state[Buf::shared_weight] : nullptr, state);
}

void topk(const LayerPlan& plan, const Step&, const LayerWeights& weights, RefState& state) {
  select_from(plan, weights, routing_scores(plan.layer.routing, state[Buf::router_logits]), state);
  weigh_routed(plan, state);
  const bool gated = plan.layer.gate_rows() > 0;
  const Matrix shared = gated ? shared_sigmoid(plan, state) : Matrix();
  if (plan.has_slots()) append_slots(plan, gated ? &shared : nullptr, state);
  if (plan.has_mlp() && gated) state[Buf::shared_weight] = shared;
}

void choose_from(const LayerPlan& plan, const Matrix& scores, const Matrix& chosen, bool weigh,
                 RefState& state) {
  const RoutingSpec& routing = plan.layer.routing;
  check(chosen.rows() == plan.tokens && chosen.cols() >= routing.top_k,
        "chosen ids are [tokens, top_k or more]");
  for (int t = 0; t < plan.tokens; ++t)
    for (int j = 0; j < routing.top_k; ++j) {
      const double id = chosen(t, j);
      const bool valid = id >= 0 && id < routing.experts;
      state[Buf::topk_ids](t, j) = id;
      state[Buf::topk_weights](t, j) =
          valid ? weight_of(scores(t, static_cast<Eigen::Index>(id))) : 0;
    }
  if (weigh) weigh_routed(plan, state);
}

void dispatch(const LayerPlan& plan, const Step&, const LayerWeights&, RefState& state) {
  const Matrix& ids = state[Buf::topk_ids];
  const int experts = plan.expert_count();
  Matrix& offsets = state[Buf::expert_offsets] = Matrix::Zero(1, experts + 1);
  Matrix& pairs = state[Buf::sorted_pairs] = Matrix::Constant(1, ids.size(), -1);
  Eigen::Index filled = 0;
  for (int e = 0; e < experts; ++e) {
    for (Eigen::Index pair = 0; pair < ids.size(); ++pair)
      if (ids.data()[pair] == e) pairs(0, filled++) = static_cast<double>(pair);
    offsets(0, e + 1) = static_cast<double>(filled);
  }
}

}  // namespace fse::reference
