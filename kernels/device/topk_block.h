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

// What the waves tell each other, in LDS. What they still read of one token the next one leaves
// alone: two of each take turns.
template <Shape S, int kWaves>
struct BlockWords {
  u32 words[2][S.experts];  // keys as ordered words
  u32 best[2][2][kWaves];   // of each wave: of the logits, and of other keys; 0: none
  float sums[kWaves];
};

FSE_D float ordered_value(u32 word) {  // of order_word
  return __uint_as_float(word >> 31 ? word ^ 0x80000000u : ~word);
}

// A token's logits in memory. What does not exist is NaN.
struct StoredLogits {
  const float* from;
  template <int kCount, class Row>
  FSE_D void read(float (&to)[kCount], Row row_of) const {
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      to[i] = row_of(i) >= 0 ? from[row_of(i)] : __uint_as_float(0x7fc00000u);
  }
};

template <Shape S, int kWaves>
struct BlockTopk {
  using Experts = BlockExperts<S, kWaves>;
  static constexpr int kCount = Experts::kCount;
  static constexpr u32 kNanWord = 1;  // below -inf, which is a logit
  const Args& a;
  BlockWords<S, kWaves>& told;
  BlockChosen& chosen;
  int token;
  Experts experts;
  float values[kCount + 1];  // the last: of the second wave, the shared expert's logit
  u32 words[kCount];
  u32 floor = 0;  // what is smaller counts as this, but for NaN

  template <class Logits>
  FSE_D BlockTopk(const Args& args, int t, const Logits& logits, char* lds, BlockChosen& to)
      : a(args), told(*reinterpret_cast<BlockWords<S, kWaves>*>(lds)), chosen(to), token(t) {
    logits.read(values, [&](int i) {
      if (i == kCount) return a.r.gated && experts.wave == 1 ? S.experts : -1;
      return experts.exists(i) ? experts.id(i) : -1;
    });
    if (experts.wave == 1 && lane_index() == 0) chosen.shared_logit = values[kCount];
  }

  FSE_D u32 floored(u32 word) const { return word > kNanWord && word < floor ? floor : word; }
  // The words of all, and the best of each wave.
  FSE_D void tell(int which) const {
    u32 best = words[0];
#pragma unroll
    for (int i = 1; i < kCount; ++i) best = best < words[i] ? words[i] : best;
    best = wave_max(best);
    if (lane_index() == 0) told.best[which][token & 1][experts.wave] = best;
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      if (experts.exists(i)) told.words[token & 1][experts.id(i)] = words[i];
    block_sync();
  }
  FSE_D u32 wave_best(int which) const {
    return lane_index() < kWaves ? told.best[which][token & 1][lane_index()] : 0;
  }

  // Words in the order of selection. Most rules select by logits; what of these ties because its
  // score is 0 or 1 is known in advance for sigmoids, and else with the largest of all.
  FSE_D int order(ScoreRule& rule) {
    const bool by_logit = selects_by_logit(a);
    if (by_logit || !rule.sigmoid) {
      const KeyLimits limits(ScoreRule{rule.sigmoid, infinity(), 0});
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        const float key = rule.sigmoid ? limits.clamp(values[i]) : values[i];
        words[i] = !experts.exists(i) ? 0 : key == key ? order_word(key) : kNanWord;
      }
      tell(0);
      if (!rule.sigmoid) {
        const u32 most = wave_max(wave_best(0));
        if (most > kNanWord) rule.largest = ordered_value(most);
        if (!(by_logit && a.r.renormalize)) add_exponentials(rule);
      }
      if (orders_by_logit(a, rule)) {
        if (!rule.sigmoid) floor = order_word(KeyLimits(rule).floor);
        return 0;
      }
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      float key = score_of(rule, values[i]);
      if (a.selection_bias && experts.exists(i)) key += a.selection_bias[experts.id(i)];
      words[i] = experts.exists(i) ? order_word(key == key ? key : -infinity()) : 0;
    }
    tell(1);
    return 1;
  }
  FSE_D void add_exponentials(ScoreRule& rule) const {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      if (values[i] == values[i]) sum += exponential(rule, values[i]);
    sum = wave_sum(sum);
    if (lane_index() == 0) told.sums[experts.wave] = sum;
    block_sync();
#pragma unroll
    for (int w = 0; w < kWaves; ++w) rule.sum += told.sums[w];
  }

  // The top_k-th largest of the waves' best: at least top_k words reach it.
  FSE_D u32 bound(int which) const {
    const u32 mine = wave_best(which);
    int rank = 0;
#pragma unroll
    for (int w = 0; w < kWaves; ++w) {
      const u32 other = told.best[which][token & 1][w];
      rank += (other > mine) | ((other == mine) & (w < lane_index()));  // no branch: all are loaded
    }
    return floored(shfl(mine, first_bit(ballot(rank == a.n.top_k - 1))));
  }

  // A wave counts, for each of its own that reach the bound, how many of all come before: few do,
  // and all of them may. Ties go to the lower id.
  template <class Each>
  FSE_D void choose(u32 bound, const Each& each) const {
    constexpr int kAll = ceil_div(S.experts, kWave);
    u64 left[kCount], any = 0;
#pragma unroll
    for (int i = 0; i < kCount; ++i) any |= left[i] = ballot(floored(words[i]) >= bound);
    if (any == 0) return;
    u32 all[kAll];
#pragma unroll
    for (int j = 0; j < kAll; ++j) {
      const int id = j * kWave + lane_index();
      all[j] = S.experts % kWave == 0 || id < S.experts ? floored(told.words[token & 1][id]) : 0;
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i)
#pragma unroll 1
      for (; left[i] != 0; left[i] &= left[i] - 1) {
        const int lane = first_bit(left[i]);
        const u32 word = floored(shfl(words[i], lane));
        const int id = experts.id(i) - lane_index() + lane;
        int before = 0;
#pragma unroll
        for (int j = 0; j < kAll; ++j)
          before += (all[j] > word) | ((all[j] == word) & (j * kWave + lane_index() < id));
        const int rank = wave_sum(before);
        if (lane_index() != lane || rank >= a.n.top_k) continue;
        chosen.ids[rank] = id;
        chosen.logits[rank] = values[i];
        each(rank, id);
      }
  }
};

// All threads of the block; calls each(rank, id). A block_sync() later all know what is chosen.
template <Shape S, int kWaves, class Logits, class Each>
FSE_D void choose_by_block(const Args& a, int token, const Logits& logits, char* lds,
                           BlockChosen& chosen, const Each& each) {
  BlockTopk<S, kWaves> topk(a, token, logits, lds, chosen);
  ScoreRule rule{a.r.sigmoid != 0, -infinity(), 0};
  const int which = topk.order(rule);
  topk.choose(topk.bound(which), each);
  if (thread_index() != 0) return;
  chosen.largest = rule.largest;
  chosen.sum = rule.sum;
}

// Behind that, by one wave: the choices with their weights.
template <class Store>
FSE_D void weigh_by_wave(const Args& a, int token, const BlockChosen& chosen, const Store& store) {
  const ScoreRule rule{a.r.sigmoid != 0, chosen.largest, chosen.sum};
  const bool mine = lane_index() < a.n.top_k;
  store_choice(a, token, rule, mine ? chosen.ids[lane_index()] : 0,
               mine ? chosen.logits[lane_index()] : 0.f, store);
  weigh_shared(a, token, chosen.shared_logit, store);
}

}  // namespace fse::gpu
