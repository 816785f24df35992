#include <algorithm>
#include <cmath>

#include "core/op_reference.h"
#include "core/parallel.h"

namespace fse::reference {
namespace {

Matrix silu_mul(const Matrix& gate, const Matrix& up) {
  return (gate.array() / (1 + (-gate.array()).exp()) * up.array()).matrix();
}

// Rows of one expert in sorted order: [begin, end) of sorted_pairs.
struct ExpertRows {
  Eigen::Index begin, end;
  Eigen::Index count() const { return end - begin; }
};
ExpertRows rows_of(const RefState& state, int expert) {
  const Matrix& offsets = state[Buf::expert_offsets];
  return {static_cast<Eigen::Index>(offsets(0, expert)),
          static_cast<Eigen::Index>(offsets(0, expert + 1))};
}

Eigen::Index pair_at(const RefState& state, Eigen::Index row) {
  return static_cast<Eigen::Index>(state[Buf::sorted_pairs](0, row));
}

}  // namespace

void grouped_stage1(const LayerPlan& plan, const Step&, const LayerWeights& weights,
                    RefState& state) {
  Matrix& h = state[Buf::h] = Matrix::Zero(plan.pairs(), plan.shard.intermediate);
  const Matrix& x = state[Buf::x];
  parallel_for(plan.expert_count(), threads(), [&](int64_t expert) {
    const ExpertRows rows = rows_of(state, expert);
    if (rows.count() == 0) return;
    Matrix gathered(rows.count(), plan.layer.hidden);
    for (Eigen::Index r = 0; r < rows.count(); ++r)
      gathered.row(r) = x.row(pair_at(state, rows.begin + r) / plan.choices());
    const Matrix gate = gathered * gate_matrix(weights, expert).transpose();
    const Matrix up = gathered * up_matrix(weights, expert).transpose();
    h.middleRows(rows.begin, rows.count()) = silu_mul(gate, up);
  });
}

void grouped_stage2(const LayerPlan& plan, const Step&, const LayerWeights& weights,
                    RefState& state) {
  Matrix& y = state[Buf::y] = Matrix::Zero(plan.pairs(), plan.layer.hidden);
  const Matrix& h = state[Buf::h];
  const double* weight = state[Buf::topk_weights].data();
  parallel_for(plan.expert_count(), threads(), [&](int64_t expert) {
    const ExpertRows rows = rows_of(state, expert);
    if (rows.count() == 0) return;
    const Matrix down =
        h.middleRows(rows.begin, rows.count()) * down_matrix(weights, expert).transpose();
    for (Eigen::Index r = 0; r < rows.count(); ++r) {
      const Eigen::Index pair = pair_at(state, rows.begin + r);
      y.row(pair) = weight[pair] * down.row(r);
    }
  });
}

void combine(const LayerPlan& plan, const Step&, const LayerWeights&, RefState& state) {
  Matrix& out = state[Buf::out] = Matrix::Zero(plan.tokens, plan.layer.hidden);
  const Matrix& ids = state[Buf::topk_ids];
  for (Eigen::Index t = 0; t < plan.tokens; ++t)
    for (Eigen::Index j = 0; j < plan.choices(); ++j)
      if (ids(t, j) >= 0 && ids(t, j) < plan.expert_count())
        out.row(t) += state[Buf::y].row(t * plan.choices() + j);
}

void mlp_stage1(const LayerPlan& plan, const Step&, const LayerWeights& weights, RefState& state) {
  const int width = plan.shard.intermediate;
  Matrix& h = state[Buf::shared_h] =
      Matrix::Zero(plan.tokens, Eigen::Index{plan.shard.slots} * width);
  for (int slot = 0; slot < plan.shard.slots; ++slot) {
    const int expert = plan.layer.routing.experts + slot;
    const Matrix gate = product(state[Buf::x], gate_matrix(weights, expert));
    const Matrix up = product(state[Buf::x], up_matrix(weights, expert));
    h.middleCols(Eigen::Index{slot} * width, width) = silu_mul(gate, up);
  }
}

void mlp_stage2(const LayerPlan& plan, const Step&, const LayerWeights& weights, RefState& state) {
  const int width = plan.shard.intermediate;
  Matrix& out = state[Buf::shared_out] = Matrix::Zero(plan.tokens, plan.layer.hidden);
  for (int slot = 0; slot < plan.shard.slots; ++slot)
    out += product(state[Buf::shared_h].middleCols(Eigen::Index{slot} * width, width),
                   down_matrix(weights, plan.layer.routing.experts + slot));
  if (plan.layer.gate_rows() == 0) {
    out *= plan.layer.shared.constant;
    return;
  }
  for (Eigen::Index t = 0; t < plan.tokens; ++t) out.row(t) *= state[Buf::shared_weight](t, 0);
}

void shared_add(const LayerPlan&, const Step&, const LayerWeights&, RefState& state) {
  state[Buf::out] += state[Buf::shared_out];
}

}  // namespace fse::reference
