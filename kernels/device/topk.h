#pragma once
// Routing, a wave for each token: score, select, weigh, and the shared expert's weight.
#include "kernels/device/topk_select.h"

namespace fse::gpu {

// Where a token's choices go: here, to the buffers.
struct StoreChoice {
  const Args& a;
  FSE_D void operator()(i64 token, int choice, int id, float weight) const {
    a.topk_ids[token * a.n.choices + choice] = id;
    a.topk_weights[token * a.n.choices + choice] = weight;
  }
};

// The shared expert's weight: for its slots, for its MLP, or not at all.
template <class Store>
FSE_D void weigh_shared(const Args& a, i64 token, float logit, const Store& store) {
  const float weight = a.r.gated ? sigmoid(logit) : a.r.shared_constant;
  if (a.r.append_slots)
#pragma unroll 1
    for (int s = lane_index(); s < a.n.slots; s += kWave)
      store(token, a.n.top_k + s, a.n.expert_count - a.n.slots + s, weight);
  else if (a.r.gated && a.shared_weight && lane_index() == 0)
    a.shared_weight[token] = weight;
}

// A wave: lane j has the j-th choice, with its logit.
template <class Store>
FSE_D void store_choice(const Args& a, i64 token, const ScoreRule& rule, int id, float logit,
                        const Store& store) {
  const bool mine = lane_index() < a.n.top_k;
  const float score = mine ? score_of(rule, logit) : 0.f;
  float weight = score == score ? score : 0.f;
  const float sum = wave_sum(weight);
  if (a.r.renormalize) weight /= sum + 1e-20f;  // core/routing.h: what is all 0 stays 0
  if (mine) store(token, lane_index(), id, weight * a.r.scaling);
}

template <Shape S, class Store>
FSE_D void topk_token(const Args& a, i64 token, char* lds, const Store& store) {
  const float* logits = a.router_logits + token * a.n.logits_stride;
  // On its way with the others, though it is needed last.
  const float shared_logit = a.r.gated ? a.shared_logit[token * a.shared_logit_stride] : 0.f;
  const LaneValues<S> values(logits);
  // Renormalised weights do not depend on the sum over all experts.
  const ScoreRule rule = score_rule<S>(a, values, !a.r.renormalize || !selects_by_logit(a));
  const int id = choose_experts<S, false>(a, rule, values, lds);
  store_choice(a, token, rule, id, lane_index() < a.n.top_k ? logits[id] : 0.f, store);
  weigh_shared(a, token, shared_logit, store);
}

// Calls body(token, this wave's LDS) for the tokens of this block's waves.
template <TopkTile T, Shape S, class Body>
FSE_D void for_each_token(const Args& a, Body body) {
  const int wave = wave_index();
  char* lds = dynamic_lds() + wave * (topk_lds(T, S, a.r) / T.warps);
#pragma unroll 1
  for (i64 t = i64{block_index()} * T.warps + wave; t < a.n.tokens;
       t += i64{block_count()} * T.warps)
    body(t, lds);
}

template <TopkTile T, Shape S>
__global__ void __launch_bounds__(T.warps* kWave) topk(const Args a) {
  static_assert(why_not(T)[0] == 0, "topk: the tile is not legal, see why_not(TopkTile)");
  begin_dependent<T.dependent != 0>();
  for_each_token<T, S>(a,
                       [&](i64 token, char* lds) { topk_token<S>(a, token, lds, StoreChoice{a}); });
}

template <TopkTile T, Shape S>
__global__ void __launch_bounds__(T.warps* kWave) score(const Args a) {
  static_assert(why_not(T)[0] == 0, "score: the tile is not legal, see why_not(TopkTile)");
  begin_dependent<T.dependent != 0>();
  for_each_token<T, S>(a, [&](i64 token, char*) {
    const float* logits = a.router_logits + token * a.n.logits_stride;
    const LaneValues<S> values(logits);
    const ScoreRule rule = score_rule<S>(a, values, true);
#pragma unroll
    for (int i = 0; i < LaneExperts<S>::kCount; ++i)
      if (LaneExperts<S>::exists(i))
        a.scores[token * S.experts + LaneExperts<S>::id(i)] = score_of(rule, values.v[i]);
  });
}

template <TopkTile T, Shape S>
__global__ void __launch_bounds__(T.warps* kWave) select(const Args a) {
  static_assert(why_not(T)[0] == 0, "select: the tile is not legal, see why_not(TopkTile)");
  begin_dependent<T.dependent != 0>();
  for_each_token<T, S>(a, [&](i64 token, char* lds) {
    const float* scores = a.scores + token * S.experts;
    const int id = choose_experts<S, true>(a, ScoreRule{}, LaneValues<S>(scores), lds);
    const float score = lane_index() < a.n.top_k ? scores[id] : 0.f;
    if (lane_index() < a.n.top_k)
      StoreChoice{a}(token, lane_index(), id, score == score ? score : 0.f);
  });
}

}  // namespace fse::gpu
