#pragma once
#include "core/op.h"
#include "core/parallel.h"

// The float64 reference of every op, as OpDef::reference wants it. See op.h.
namespace fse::reference {

// Experts in float64 at the same time, at most.
inline int threads() {
  return std::min(16, cores());
}
// a b^T, rows of a on as many threads. The blocks do not depend on how many there are, so that
// neither does a rounding.
template <class B>
Matrix product(const Matrix& a, const B& b) {
  constexpr Eigen::Index kRows = 64;
  Matrix result(a.rows(), b.rows());
  parallel_for((a.rows() + kRows - 1) / kRows, threads(), [&](int64_t block) {
    const Eigen::Index first = block * kRows, count = std::min(kRows, a.rows() - first);
    result.middleRows(first, count).noalias() = a.middleRows(first, count) * b.transpose();
  });
  return result;
}

void gate_gemm(const LayerPlan&, const Step&, const LayerWeights&, RefState&);
void score(const LayerPlan&, const Step&, const LayerWeights&, RefState&);
void select(const LayerPlan&, const Step&, const LayerWeights&, RefState&);
void renormalize(const LayerPlan&, const Step&, const LayerWeights&, RefState&);
void shared_activation(const LayerPlan&, const Step&, const LayerWeights&, RefState&);
void slot_append(const LayerPlan&, const Step&, const LayerWeights&, RefState&);
void topk(const LayerPlan&, const Step&, const LayerWeights&, RefState&);
void dispatch(const LayerPlan&, const Step&, const LayerWeights&, RefState&);
void grouped_stage1(const LayerPlan&, const Step&, const LayerWeights&, RefState&);
void grouped_stage2(const LayerPlan&, const Step&, const LayerWeights&, RefState&);
void combine(const LayerPlan&, const Step&, const LayerWeights&, RefState&);
void mlp_stage1(const LayerPlan&, const Step&, const LayerWeights&, RefState&);
void mlp_stage2(const LayerPlan&, const Step&, const LayerWeights&, RefState&);
void shared_add(const LayerPlan&, const Step&, const LayerWeights&, RefState&);

// Replaces the routed columns of topk_ids by `chosen` [tokens, >= top_k], with the weights these
// experts have by the layer's own rule from `scores`; `weigh`: renormalised and scaled here too.
void choose_from(const LayerPlan&, const Matrix& scores, const Matrix& chosen, bool weigh,
                 RefState&);

}  // namespace fse::reference
