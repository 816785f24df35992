#pragma once
// A layer of up to 8 tokens in one launch (owned=1). Every token reads the shared expert, whatever
// the routing says, so its units come first: their weights are on their way while the tokens are
// routed.
#include "kernels/device/gate_few.h"
#include "kernels/device/owned.h"
#include "kernels/device/topk_block.h"

namespace fse::gpu {

// The units of a few tokens and the rows of their sorted pairs: slots, then experts as they appear,
// each with a bit per token. No counter waits for another wave, and no expert without tokens is
// looked at.
template <LayerTile T, Shape S>
struct FewPairs {
  static constexpr bool kByBlock = T.spread == 2;
  const Args& a;
  OwnedLists to;
  BlockChosen* chosen;  // by the block, or
  int* ids;             // by waves, in token order,
  float* weights;       // with their weights

  FSE_D FewPairs(const Args& args, char* lds, const OwnedLayout& at)
      : a(args),
        to(lds, at),
        chosen(reinterpret_cast<BlockChosen*>(lds + at.choices)),
        ids(reinterpret_cast<int*>(lds + at.choices)),
        weights(reinterpret_cast<float*>(ids + args.n.tokens * args.n.choices)) {}

  FSE_D int slots() const { return a.n.expert_count - S.experts; }
  FSE_D void set_unit(int unit, int expert, u32 token_bits, int row) const {
    const u32 rows = static_cast<u32>(popcount(token_bits));
    to.units[2 * unit] = static_cast<u32>(expert) | rows << 16 | token_bits << 24;
    to.units[2 * unit + 1] = static_cast<u32>(row);
  }
  FSE_D int id_of(int token, int choice) const {
    if (choice >= a.n.top_k) return S.experts + choice - a.n.top_k;
    return kByBlock ? chosen[token].ids[choice] : ids[token * a.n.choices + choice];
  }

  // What does not depend on the routing, and no tokens yet for each expert.
  FSE_D void place_slots() const {
    if (thread_index() < slots()) {
      const int slot = thread_index(), row = slot * a.n.tokens;
      set_unit(slot, S.experts + slot, (1u << a.n.tokens) - 1, row);
      to.first_rows[S.experts + slot] = row;
#pragma unroll 1
      for (int token = 0; token < a.n.tokens; ++token) to.tokens[row + token] = token;
    }
    if (a.n.tokens == 1) return;
#pragma unroll 1
    for (int i = thread_index(); i < a.n.expert_count; i += block_threads()) to.bits[i] = 0;
  }

  // A single token's choices are units as they come.
  FSE_D void place_one(int choice, int id) const {
    set_unit(slots() + choice, id, 1, slots() + choice);
    to.tokens[slots() + choice] = 0;
  }

  // Of several tokens, by one wave.
  FSE_D void mark() const {
#pragma unroll 1
    for (int pair = lane_index(); pair < a.n.tokens * a.n.choices; pair += kWave) {
      const int token = pair / a.n.choices;
      atomicOr(to.bits + id_of(token, pair - token * a.n.choices), 1u << token);
    }
    wave_sync();
  }
  FSE_D void place_experts() const {
    int unit = slots(), row = slots() * a.n.tokens;
#pragma unroll 1
    for (int base = 0; base < a.n.tokens * a.n.choices; base += kWave) {
      const int pair = base + lane_index(), token = pair / a.n.choices;
      const int id =
          token < a.n.tokens ? id_of(token, pair - token * a.n.choices) : a.n.expert_count;
      const u32 mine = id < S.experts ? to.bits[id] : 0;
      const bool first = id < S.experts && (mine & ((1u << token) - 1)) == 0;
      const int rows = first ? popcount(mine) : 0;
      const u64 firsts = ballot(first);
      const int rows_up_to = wave_inclusive_sum(rows);
      if (first) {
        to.first_rows[id] = row + rows_up_to - rows;
        set_unit(unit + popcount(firsts & lanes_below()), id, mine, to.first_rows[id]);
      }
      unit += popcount(firsts);
      row += shfl(rows_up_to, kWave - 1);
    }
    if (lane_index() == 0) *to.scratch = unit;
  }

  FSE_D int row_of(int token, int choice, int id) const {
    if (a.n.tokens == 1) return choice < a.n.top_k ? slots() + choice : choice - a.n.top_k;
    return to.first_rows[id] + popcount(to.bits[id] & ((1u << token) - 1));
  }
  // All threads, when the choices are known to all; returns the number of units.
  FSE_D int place() const {
    if (a.n.tokens == 1) {
      if constexpr (kByBlock) return a.n.choices;  // placed when they were chosen
      if (thread_index() < a.n.top_k) place_one(thread_index(), ids[thread_index()]);
      block_sync();
      return a.n.choices;
    }
    if (wave_index() == 0) {
      mark();
      place_experts();
    }
    block_sync();
#pragma unroll 1
    for (int pair = thread_index(); pair < a.n.tokens * a.n.choices; pair += block_threads()) {
      const int token = pair / a.n.choices, choice = pair - token * a.n.choices;
      to.tokens[row_of(token, choice, id_of(token, choice))] = token;
    }
    block_sync();
    return *to.scratch;
  }
};

// A choice's weight, for the rows of its pair.
template <LayerTile T, Shape S>
struct PlaceWeight {
  const FewPairs<T, S>& pairs;
  FSE_D void operator()(i64 token, int choice, int id, float weight) const {
    pairs.to.weights[pairs.row_of(static_cast<int>(token), choice, id)] = weight;
    if (block_index() == 0) StoreChoice{pairs.a}(token, choice, id, weight);
  }
};

// Waves of this block route the tokens, each its own when all logits are there, or all of them one
// after the other, from the mail (spread=2). Every block does.
template <LayerTile T, Shape S>
FSE_D void route_few(const Args& a, char* lds, const Mail& mail, const FewPairs<T, S>& pairs) {
  if constexpr (T.spread == 2) {
#pragma unroll 1
    for (int t = 0; t < a.n.tokens; ++t)
      choose_by_block<S, T.warps>(a, t, MailedLogits{mail, t}, lds, pairs.chosen[t],
                                  [&](int rank, int id) {
                                    if (a.n.tokens == 1) pairs.place_one(rank, id);
                                  });
  } else {
    grid_wait(a.barrier, 0);
    char* own = lds + wave_index() * (topk_lds({0, T.warps}, S, a.r) / T.warps);
    if (wave_index() < a.n.tokens)
      topk_token<S>(a, wave_index(), own, KeepChoice(a, reinterpret_cast<char*>(pairs.ids)));
  }
  block_sync();
}
// Not needed before stage 2: a weight for each row.
template <LayerTile T, Shape S>
FSE_D void weigh_few(const Args& a, const FewPairs<T, S>& pairs) {
  if constexpr (T.spread == 2) {
#pragma unroll 1
    for (int t = wave_index(); t < a.n.tokens; t += T.warps)
      weigh_by_wave(a, t, pairs.chosen[t], PlaceWeight<T, S>{pairs});
  } else {
#pragma unroll 1
    for (int pair = thread_index(); pair < a.n.tokens * a.n.choices; pair += block_threads()) {
      const int token = pair / a.n.choices, choice = pair - token * a.n.choices;
      pairs.to.weights[pairs.row_of(token, choice, pairs.id_of(token, choice))] =
          pairs.weights[pair];
    }
  }
}

template <LayerTile T, Shape S>
FSE_D void few_tokens(const Args& a, char* lds) {
  using Stage1 = StreamTask<stage1_tile(T), S, kStage1>;
  constexpr bool kMails = T.spread == 2;
  const OwnedLayout at = owned_layout(T, S, a.n, a.r);
  const StreamLayout stage1_at = stream_layout(kStage1, stage1_tile(T), a.n);
  const FewPairs<T, S> pairs(a, lds, at);
  Mail mail(a);
  pairs.place_slots();
  gate_few<T, S>(a, lds + stage1_at.partials, mail);
  if constexpr (T.dependent != 0) dependency_launch();
  if constexpr (kMails)
    block_sync();
  else
    grid_arrive(a.barrier, 0);

  const int tiles = tiles_per_unit(kStage1, stage1_tile(T), S, a.n);
  const auto range_of = [&](int units) {
    return typename Stage1::Range(units, tiles, block_index(), block_count());
  };
  typename Stage1::Work work(a);
  OwnedPlan{{pairs.to.units, pairs.slots()}, pairs.to.tokens, pairs.to.weights}(work);
  typename Stage1::Slices stream(work, lds, range_of(T.robin == 0 ? 0 : pairs.slots()), tiles,
                                 Stage1::Work::kRowSlices);
  stream.begin_to_fill();
  prefetch_owned<S>(a, work.list, 0, 65536);
  Stage1 stage1(work, stream, reinterpret_cast<float*>(lds + stage1_at.partials));
  route_few<T, S>(a, lds + at.route, mail, pairs);
  work.list.count = pairs.place();
  stream.extend(range_of(work.list.count));
  weigh_few<T, S>(a, pairs);
  stage1.run([&] { prefetch_owned<S>(a, work.list, pairs.slots(), 16384); });

  if constexpr (kMails)
    mail.arrive();
  else
    grid_arrive(a.barrier, kLastBarrier);
  stream_op<stage2_tile(T), S, kOwnedStage2>(
      a, lds, OwnedPlan{work.list, pairs.to.tokens, pairs.to.weights},
      [&] {
        if constexpr (kMails)
          mail.wait();
        else
          grid_wait(a.barrier, kLastBarrier);
      },
      [] {});
}

}  // namespace fse::gpu
