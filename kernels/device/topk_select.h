#pragma once
// Scores and the choice of experts, a wave for each token. The rule, NaN, infinities and ties
// included, is that of core/routing.h.
#include "kernels/device/numbers.h"

namespace fse::gpu {

FSE_D float infinity() {
  return __uint_as_float(0x7f800000u);
}
// Unsigned order of floats: larger values have larger words, -0 and 0 the same. 0 is below all.
FSE_D u32 order_word(float v) {
  const u32 bits = __float_as_uint(v + 0.f);
  return bits ^ (static_cast<u32>(static_cast<int>(bits) >> 31) | 0x80000000u);
}

// What a score depends on besides its logit.
struct ScoreRule {
  bool sigmoid;
  float largest;  // softmax: the largest logit that is not NaN
  float sum;      // softmax: of all exponentials
};
FSE_D float exponential(const ScoreRule& rule, float logit) {
  if (rule.largest == -infinity()) return 0;
  if (rule.largest == infinity()) return logit == infinity() ? 1.f : 0.f;
  return exp_accurate(logit - rule.largest);
}
FSE_D float score_of(const ScoreRule& rule, float logit) {
  if (logit != logit) return logit;
  if (rule.sigmoid) return sigmoid(logit);
  const float e = exponential(rule, logit);
  return rule.sum > 0 ? e / rule.sum : e;
}

// Expert i * kWave + lane is entry i of a lane.
template <Shape S>
struct LaneExperts {
  static constexpr int kCount = ceil_div(S.experts, kWave);
  FSE_D static int id(int i) { return i * kWave + lane_index(); }
  FSE_D static bool exists(int i) {
    return S.experts % kWave == 0 || i < kCount - 1 || id(i) < S.experts;
  }
};

// A token's values in registers: all loads are on their way before the first is used. What does not
// exist is NaN.
template <Shape S>
struct LaneValues {
  float v[LaneExperts<S>::kCount];
  FSE_D explicit LaneValues(const float* from) {
    using Experts = LaneExperts<S>;
#pragma unroll
    for (int i = 0; i < Experts::kCount; ++i)
      v[i] = Experts::exists(i) ? from[Experts::id(i)] : __uint_as_float(0x7fc00000u);
  }
};

// f of every value, in a loop whose values move through its first places: registers have no index.
// Unrolled it would be more code than a compute unit's cache holds of a whole layer's kernel.
template <int kCount, class F>
FSE_D void for_each_value(float (&v)[kCount], F f) {
  constexpr int kStep = kCount % 4 == 0 ? 4 : 1;
#pragma unroll 1
  for (int done = 0; done < kCount; done += kStep) {
    float first[kStep];
#pragma unroll
    for (int i = 0; i < kStep; ++i) first[i] = f(v[i]);
#pragma unroll
    for (int i = 0; i < kCount - kStep; ++i) v[i] = v[i + kStep];
#pragma unroll
    for (int i = 0; i < kStep; ++i) v[kCount - kStep + i] = first[i];
  }
}

template <Shape S>
FSE_D ScoreRule score_rule(const Args& a, const LaneValues<S>& logits, bool needs_sum) {
  ScoreRule rule{a.r.sigmoid != 0, -infinity(), 0};
  if (rule.sigmoid) return rule;
#pragma unroll
  for (const float logit : logits.v) rule.largest = fmaxf(rule.largest, logit);  // NaN is left out
  rule.largest = wave_max(rule.largest);
  if (!needs_sum) return rule;
  LaneValues<S> values = logits;
  for_each_value(values.v, [&](float logit) {
    rule.sum += logit == logit ? exponential(rule, logit) : 0.f;
    return logit;
  });
  rule.sum = wave_sum(rule.sum);
  return rule;
}

// The next smaller float: where floats are more than 745 apart, all but the largest logit score 0.
FSE_D float float_below(float v) {
  const u32 bits = __float_as_uint(v);
  if (v == 0) return -0x1p-149f;
  return __uint_as_float(v > 0 ? bits - 1 : bits + 1);
}

// Without a bias or sums of scores, experts are ordered as their logits are, and f32 keeps that
// order better than that of the scores. What ties by the rule ties here: softmax 745 below the
// largest and sigmoid from -87 down are 0, sigmoid above 36.7 is 1.
FSE_D bool selects_by_logit(const Args& a) {
  return !a.selection_bias && !(a.r.groups > 1 && a.r.sum_of_top2);
}

FSE_D bool orders_by_logit(const Args& a, const ScoreRule& rule) {
  return selects_by_logit(a) && (rule.sigmoid || fabsf(rule.largest) < infinity());
}
struct KeyLimits {
  float floor, ceiling;
  FSE_D explicit KeyLimits(const ScoreRule& rule)
      : floor(rule.sigmoid ? -87.f : fminf(rule.largest - 745.2f, float_below(rule.largest))),
        ceiling(rule.sigmoid ? 36.7f : infinity()) {}
  FSE_D float clamp(float logit) const {  // NaN stays NaN
    return logit == logit ? fminf(fmaxf(logit, floor), ceiling) : logit;
  }
};

// What experts are ordered by; -inf where the value is NaN. kScored: values are scores, not logits.
template <Shape S, bool kScored>
FSE_D void selection_keys(float (&keys)[LaneExperts<S>::kCount], const Args& a,
                          const ScoreRule& rule, const LaneValues<S>& values) {
  using Experts = LaneExperts<S>;
  const bool by_logit = !kScored && orders_by_logit(a, rule);
#pragma unroll
  for (int i = 0; i < Experts::kCount; ++i) keys[i] = values.v[i];
  if (by_logit) {  // the common case stays short: code that runs once is fetched once
    const KeyLimits limits(rule);
#pragma unroll
    for (float& key : keys) key = limits.clamp(key);
  } else if (!kScored) {
    for_each_value(keys, [&](float logit) { return score_of(rule, logit); });
  }
  if (a.selection_bias)
#pragma unroll
    for (int i = 0; i < Experts::kCount; ++i)
      if (Experts::exists(i)) keys[i] += a.selection_bias[Experts::id(i)];
#pragma unroll
  for (int i = 0; i < Experts::kCount; ++i) keys[i] = keys[i] == keys[i] ? keys[i] : -infinity();
}

// Entries of groups that are not kept become 0. `lds` holds this wave's keys and groups.
template <Shape S>
FSE_D void drop_groups(const Args& a, u32 (&words)[LaneExperts<S>::kCount],
                       const float (&keys)[LaneExperts<S>::kCount], char* lds) {
  using Experts = LaneExperts<S>;
  const int groups = a.r.groups, width = S.experts / groups;
  float* key = reinterpret_cast<float*>(lds);
  u32* order = reinterpret_cast<u32*>(key + S.experts);
#pragma unroll
  for (int i = 0; i < Experts::kCount; ++i)
    if (Experts::exists(i)) key[Experts::id(i)] = keys[i];
  wave_sync();
#pragma unroll 1
  for (int g = lane_index(); g < groups; g += kWave) {
    float best = -infinity(), second = -infinity();
#pragma unroll 1
    for (int e = g * width; e < (g + 1) * width; ++e) {
      second = fmaxf(second, fminf(best, key[e]));
      best = fmaxf(best, key[e]);
    }
    order[g] = order_word(a.r.sum_of_top2 && width > 1 ? best + second : best);
  }
  wave_sync();
#pragma unroll 1
  for (int g = lane_index(); g < groups; g += kWave) {
    int better = 0;
#pragma unroll 1
    for (int o = 0; o < groups; ++o)
      better += order[o] > order[g] || (order[o] == order[g] && o < g);
    const float kept = better < a.r.groups_kept ? 1.f : 0.f;
#pragma unroll 1
    for (int e = g * width; e < (g + 1) * width; ++e) key[e] = kept;  // what it was is in order
  }
  wave_sync();
#pragma unroll
  for (int i = 0; i < Experts::kCount; ++i)
    if (Experts::exists(i) && key[Experts::id(i)] == 0) words[i] = 0;
  wave_sync();
}

// The chosen experts, best first, ties to the lower id: lane j gets the j-th. One round for each.
template <Shape S>
FSE_D int choose_in_rounds(u32 (&words)[LaneExperts<S>::kCount], int top_k) {
  using Experts = LaneExperts<S>;
  int chosen = 0, best_at = 0;
  u32 best = 0;
  const auto scan = [&] {  // a tree, whose depth and not whose width is what a round waits for
    u32 most[Experts::kCount];
    int at[Experts::kCount];
#pragma unroll
    for (int i = 0; i < Experts::kCount; ++i) {
      most[i] = words[i];
      at[i] = i;
    }
#pragma unroll
    for (int step = 1; step < Experts::kCount; step *= 2)
#pragma unroll
      for (int i = 0; i + step < Experts::kCount; i += 2 * step)
        if (most[i + step] > most[i]) {
          most[i] = most[i + step];
          at[i] = at[i + step];
        }
    best = most[0];
    best_at = at[0];
  };
  scan();
#pragma unroll 1
  for (int j = 0; j < top_k; ++j) {
    const u32 most = wave_max(best);
    const u32 id = wave_min(best == most ? static_cast<u32>(Experts::id(best_at)) : ~0u);
    if (lane_index() == j) chosen = static_cast<int>(id);
    if (static_cast<int>(id % kWave) != lane_index()) continue;
#pragma unroll
    for (int i = 0; i < Experts::kCount; ++i)
      if (i == static_cast<int>(id / kWave)) words[i] = 0;
    scan();
  }
  return chosen;
}

// How many lanes come before this one, larger words first.
FSE_D int rank_in_wave(u32 word) {
  int rank = 0;
#pragma unroll 8
  for (int j = 0; j < kWave; ++j) {
    const u32 other = shfl(word, j);
    rank += other > word || (other == word && j < lane_index());
  }
  return rank;
}

// The same without rounds that wait for each other: the top_k-th largest of the lanes' best bounds
// the top_k-th largest of all from below. The few words that reach it are ranked by counting.
template <Shape S>
FSE_D int choose(u32 (&words)[LaneExperts<S>::kCount], int top_k, char* lds) {
  using Experts = LaneExperts<S>;
  u32* candidates = reinterpret_cast<u32*>(lds);
  u32* ids = candidates + kWave;
  u32 best = words[0];
#pragma unroll
  for (int i = 1; i < Experts::kCount; ++i) best = best < words[i] ? words[i] : best;
  const u32 bound = shfl(best, first_bit(ballot(rank_in_wave(best) == top_k - 1)));
  int count = 0;
#pragma unroll
  for (int i = 0; i < Experts::kCount; ++i) {
    const bool reaches = Experts::exists(i) && words[i] >= bound;
    const u64 those = ballot(reaches);
    const int place = count + popcount(those & lanes_below());
    if (reaches && place < kWave) {  // ascending ids: ties go to the lower place
      candidates[place] = words[i];
      ids[place] = static_cast<u32>(Experts::id(i));
    }
    count += popcount(those);
  }
  if (count > kWave) return choose_in_rounds<S>(words, top_k);
  wave_sync();
  const bool mine = lane_index() < count;
  const u32 id = mine ? ids[lane_index()] : 0;
  const int rank = rank_in_wave(mine ? candidates[lane_index()] : 0);
  wave_sync();
  if (mine && rank < top_k) ids[rank] = id;
  wave_sync();
  const int chosen = lane_index() < top_k ? static_cast<int>(ids[lane_index()]) : 0;
  wave_sync();  // the next token's
  return chosen;
}

template <Shape S, bool kScored>
FSE_D int choose_experts(const Args& a, const ScoreRule& rule, const LaneValues<S>& values,
                         char* lds) {
  using Experts = LaneExperts<S>;
  float keys[Experts::kCount];
  u32 words[Experts::kCount];
  selection_keys<S, kScored>(keys, a, rule, values);
#pragma unroll
  for (int i = 0; i < Experts::kCount; ++i) words[i] = Experts::exists(i) ? order_word(keys[i]) : 0;
  if (a.r.groups > 1) drop_groups<S>(a, words, keys, lds);
  return choose<S>(words, a.n.top_k, lds);
}

}  // namespace fse::gpu
