#pragma once
// Routing of a few tokens by a whole block: its waves choose the experts of a token together. A
// lane has one or two experts instead of dozens, so there is little code, which is fetched and
// waited for once per launch, and it does not wait for itself. The rule is that of topk_select.h.
#include "kernels/device/topk.h"

namespace fse::gpu {

// Each wave has its share of the experts; local expert i * kWave + lane is entry i of a lane.
template <Shape S, int kWaves>
struct BlockExperts {
  static constexpr int kShare = block_share(S, kWaves);
  static constexpr int kCount = ceil_div(kShare, kWave);
  int wave, first;  // entry 0 of this lane
  FSE_D BlockExperts() : wave(wave_index()), first(wave * kShare + lane_index()) {}
  FSE_D int id(int i) const { return first + i * kWave; }
  FSE_D bool exists(int i) const {
    return i * kWave + lane_index() < kShare && (kShare * kWaves == S.experts || id(i) < S.experts);
  }
};

// What the waves tell each other, in LDS.
template <int kWaves>
struct BlockChoice {
  u32 largest[kWaves];  // logit of each wave, as an ordered word; 0: none
  u32 best[kWaves];     // key
  float sums[kWaves];
  u32 round_best[2][kWaves], round_ids[2][kWaves];
  u32 count;  // of candidates, all of which fit where it is up to kWave
  u32 words[kWave], ids[kWave];
  float logits[kWave];
  u32 chosen_ids[kWave];
  float chosen_logits[kWave];
};

FSE_D float ordered_value(u32 word) {  // of order_word
  return __uint_as_float(word >> 31 ? word ^ 0x80000000u : ~word);
}
template <int kWaves>
FSE_D u32 most_of(const u32 (&words)[kWaves]) {
  u32 most = 0;
#pragma unroll
  for (int w = 0; w < kWaves; ++w) most = most < words[w] ? words[w] : most;
  return most;
}

template <Shape S, int kWaves>
struct BlockTopk {
  using Experts = BlockExperts<S, kWaves>;
  static constexpr int kCount = Experts::kCount;
  const Args& a;
  BlockChoice<kWaves>& told;
  Experts experts;
  float values[kCount];
  u32 words[kCount];

  FSE_D BlockTopk(const Args& args, const float* logits, char* lds)
      : a(args), told(*reinterpret_cast<BlockChoice<kWaves>*>(lds)) {
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      values[i] = experts.exists(i) ? logits[experts.id(i)] : __uint_as_float(0x7fc00000u);
    if (thread_index() == 0) told.count = 0;
  }

  FSE_D void tell_best(u32 (&to)[kWaves]) const {
    u32 best = words[0];
#pragma unroll
    for (int i = 1; i < kCount; ++i) best = best < words[i] ? words[i] : best;
    best = wave_max(best);
    if (lane_index() == 0) to[experts.wave] = best;
    block_sync();
  }

  FSE_D ScoreRule rule() {
    ScoreRule rule{a.r.sigmoid != 0, -infinity(), 0};
#pragma unroll
    for (int i = 0; i < kCount; ++i) words[i] = values[i] == values[i] ? order_word(values[i]) : 0;
    tell_best(told.largest);
    if (rule.sigmoid) return rule;
    if (const u32 most = most_of(told.largest)) rule.largest = ordered_value(most);
    if (a.r.renormalize && selects_by_logit(a)) return rule;
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      if (values[i] == values[i]) sum += exponential(rule, values[i]);
    sum = wave_sum(sum);
    if (lane_index() == 0) told.sums[experts.wave] = sum;
    block_sync();
#pragma unroll
    for (int w = 0; w < kWaves; ++w) rule.sum += told.sums[w];
    return rule;
  }

  // Words in the order of selection, and a bound that at least top_k of them reach: the top_k-th
  // largest of the waves' best.
  FSE_D u32 order(const ScoreRule& rule) {
    const bool by_logit = orders_by_logit(a, rule);
    const KeyLimits limits(rule);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      float key = by_logit ? limits.clamp(values[i]) : score_of(rule, values[i]);
      if (a.selection_bias && experts.exists(i)) key += a.selection_bias[experts.id(i)];
      words[i] = experts.exists(i) ? order_word(key == key ? key : -infinity()) : 0;
    }
    tell_best(told.best);
    const u32 mine = lane_index() < kWaves ? told.best[lane_index()] : 0;
    int rank = 0;
#pragma unroll
    for (int w = 0; w < kWaves; ++w) {
      const u32 other = told.best[w];
      rank += (other > mine) | ((other == mine) & (w < lane_index()));  // no branch: all are loaded
    }
    return shfl(mine, first_bit(ballot(rank == a.n.top_k - 1)));
  }

  // All that reach the bound, in any order.
  FSE_D void offer(u32 bound) const {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (!experts.exists(i) || words[i] < bound) continue;
      const u32 place = atomicAdd(&told.count, 1u);
      if (place >= static_cast<u32>(kWave)) continue;
      told.words[place] = words[i];
      told.ids[place] = static_cast<u32>(experts.id(i));
      told.logits[place] = values[i];
    }
    block_sync();
  }

  // By the first wave: the candidates' ranks, ties to the lower id.
  FSE_D void rank(int count) const {
    const u32 word = lane_index() < count ? told.words[lane_index()] : 0;
    const u32 id = lane_index() < count ? told.ids[lane_index()] : ~0u;
    int rank = 0;
#pragma unroll 8
    for (int j = 0; j < count; ++j) {
      const u32 other = told.words[j], other_id = told.ids[j];
      rank += (other > word) | ((other == word) & (other_id < id));
    }
    if (lane_index() < count && rank < a.n.top_k) {
      told.chosen_ids[rank] = id;
      told.chosen_logits[rank] = told.logits[lane_index()];
    }
    wave_sync();
  }

  // Where more words tie than there are places: one round for each choice.
  FSE_D void choose_in_block_rounds(const float* logits) {
#pragma unroll 1
    for (int j = 0; j < a.n.top_k; ++j) {
      u32(&best)[kWaves] = told.round_best[j & 1];
      u32(&ids)[kWaves] = told.round_ids[j & 1];
      u32 most = 0, id = ~0u;
#pragma unroll
      for (int i = 0; i < kCount; ++i)
        if (words[i] > most) {
          most = words[i];
          id = static_cast<u32>(experts.id(i));
        }
      const u32 wave_best = wave_max(most);
      id = wave_min(most == wave_best ? id : ~0u);
      if (lane_index() == 0) {
        best[experts.wave] = wave_best;
        ids[experts.wave] = id;
      }
      block_sync();
      most = most_of(best);
      id = ~0u;
#pragma unroll
      for (int w = 0; w < kWaves; ++w)
        if (best[w] == most && ids[w] < id) id = ids[w];
#pragma unroll
      for (int i = 0; i < kCount; ++i)
        if (static_cast<u32>(experts.id(i)) == id) words[i] = 0;
      if (thread_index() == 0) {
        told.chosen_ids[j] = id;
        told.chosen_logits[j] = logits[id];
      }
    }
    wave_sync();
  }
};

// All threads of the block; its first two waves store the choices. `lds`: topk_lds() of its waves.
template <Shape S, int kWaves, class Store>
FSE_D void topk_token_of_block(const Args& a, i64 token, char* lds, const Store& store) {
  const float* logits = a.router_logits + token * a.n.logits_stride;
  const float shared_logit = a.r.gated ? a.shared_logit[token * a.shared_logit_stride] : 0.f;
  BlockTopk<S, kWaves> topk(a, logits, lds);
  const ScoreRule rule = topk.rule();
  topk.offer(topk.order(rule));
  const int count = static_cast<int>(topk.told.count);
  if (count > kWave) topk.choose_in_block_rounds(logits);
  if (topk.experts.wave == 1) weigh_shared(a, token, shared_logit, store);
  if (topk.experts.wave != 0) return;
  if (count <= kWave) topk.rank(count);
  const bool mine = lane_index() < a.n.top_k;
  const int id = mine ? static_cast<int>(topk.told.chosen_ids[lane_index()]) : 0;
  store_choice(a, token, rule, id, mine ? topk.told.chosen_logits[lane_index()] : 0.f, store);
}

}  // namespace fse::gpu
