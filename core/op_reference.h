#pragma once
#include "core/op.h"

// The float64 reference of every op, as OpDef::reference wants it. See op.h.
namespace fse::reference {

inline constexpr int kThreads = 4;  // experts in float64 at the same time, at most

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
