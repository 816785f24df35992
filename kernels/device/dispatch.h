#pragma once
// Sorts pairs by expert, stable by pair: a counting sort in one block, or blocks that each collect
// the pairs of a few experts. Each wave owns a contiguous part of the pairs and a row of counters,
// so that no order depends on timing.
#include "kernels/device/numbers.h"

namespace fse::gpu {

// Calls body(pair, id, peers) for each of a wave's pairs, kWave at a time; `peers` are the lanes
// with the same id. Empty pairs have id -1.
template <class Body>
FSE_D void for_each_pair(const Args& a, int first, int last, Body body) {
  // Loads of several turns are on their way together: a lone block has nothing else to wait with.
  constexpr int kTurns = 4;
  for (int base = first; base < last; base += kTurns * kWave) {
    int ids[kTurns];
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int pair = base + turn * kWave + lane_index();
      ids[turn] = pair < last ? a.topk_ids[pair] : -1;
    }
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      if (base + turn * kWave >= last) break;
      const int id = ids[turn] >= 0 && ids[turn] < a.n.expert_count ? ids[turn] : -1;
      body(base + turn * kWave + lane_index(), id, wave_match(id));
    }
  }
}

// Counters [wave][expert] become first rows: exclusive over experts, then over waves. All threads
// of the block.
FSE_D void scan_counts(const Args& a, int* counts, int* scratch, int waves) {
  const int experts = a.n.expert_count, thread = thread_index();
  const int share = ceil_div(experts, block_threads());
  const int first = smaller(thread * share, experts), last = smaller(first + share, experts);
  int mine = 0;
  for (int e = first; e < last; ++e)
    for (int w = 0; w < waves; ++w) mine += counts[w * experts + e];
  const int inclusive = wave_inclusive_sum(mine);
  if (lane_index() == kWave - 1) scratch[thread / kWave] = inclusive;
  block_sync();
  int row = inclusive - mine;
  for (int w = 0; w < thread / kWave; ++w) row += scratch[w];
  for (int e = first; e < last; ++e) {
    a.expert_offsets[e] = row;
    for (int w = 0; w < waves; ++w) {
      const int count = counts[w * experts + e];
      counts[w * experts + e] = row;
      row += count;
    }
  }
  if (thread == block_threads() - 1) a.expert_offsets[experts] = row;
}

// By one block, whose first kWaves waves count.
template <int kWaves>
FSE_D void dispatch_op(const Args& a, char* lds) {
  const int experts = a.n.expert_count, pairs = a.n.tokens * a.n.choices;
  int* counts = reinterpret_cast<int*>(lds);
  int* scratch = counts + kWaves * experts;
  const int wave = wave_index();
  const int share = ceil_div(ceil_div(pairs, kWaves), kWave) * kWave;
  const int first = wave < kWaves ? smaller(wave * share, pairs) : pairs;
  const int last = smaller(first + share, pairs);
  for (int i = thread_index(); i < kWaves * experts; i += block_threads()) counts[i] = 0;
  block_sync();

  int* mine = counts + wave * experts;
  for_each_pair(a, first, last, [&](int, int id, u64 peers) {
    if (id >= 0 && (peers & lanes_below()) == 0) mine[id] += popcount(peers);
    wave_sync();
  });
  block_sync();
  scan_counts(a, counts, scratch, kWaves);
  block_sync();
  for_each_pair(a, first, last, [&](int pair, int id, u64 peers) {
    const int row = id >= 0 ? mine[id] + popcount(peers & lanes_below()) : 0;
    wave_sync();
    if (id >= 0) {
      a.sorted_pairs[row] = pair;
      if ((peers & lanes_below()) == 0) mine[id] += popcount(peers);
    }
    wave_sync();
  });
  // Rows behind the last one belong to no expert.
  const int filled = a.expert_offsets[experts];
  for (int i = filled + thread_index(); i < pairs; i += block_threads()) a.sorted_pairs[i] = -1;
}

// Calls body(pair, id) for the pairs of one wave, every lane each time. Empty pairs have id -1.
template <class Body>
FSE_D void for_each_id(const Args& a, int first, int last, Body body) {
  constexpr int kTurns = 4;
#pragma unroll 1
  for (int base = first + lane_index(); base - lane_index() < last; base += kTurns * kWave) {
    int ids[kTurns];
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn)
      ids[turn] = base + turn * kWave < last ? a.topk_ids[base + turn * kWave] : -1;
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn)
      body(base + turn * kWave, ids[turn] < a.n.expert_count ? ids[turn] : -1);
  }
}

// The rows of this block's T.experts experts. It reads all ids, which costs less than to wait for
// what other blocks have read: how many pairs lie before its own it counts, too.
template <DispatchTile T>
FSE_D void collect_op(const Args& a, char* lds) {
  constexpr int kCounts = T.experts + 1;
  int* counts = reinterpret_cast<int*>(lds);
  const int pairs = a.n.tokens * a.n.choices, wave = wave_index();
  const int expert = block_index() * T.experts;
  const int share = ceil_div(ceil_div(pairs, T.warps), kWave) * kWave;
  const int first = smaller(wave * share, pairs), last = smaller(first + share, pairs);

  int mine[kCounts] = {};
  for_each_id(a, first, last, [&](int, int id) {
#pragma unroll
    for (int e = 0; e < T.experts; ++e) mine[e] += popcount(ballot(id == expert + e));
    mine[T.experts] += popcount(ballot(id >= 0 && id < expert));
  });
#pragma unroll
  for (int e = 0; e < kCounts; ++e)
    if (lane_index() == 0) counts[wave * kCounts + e] = mine[e];
  block_sync();

  constexpr int kAtOnce = smaller(T.warps, 8);  // unrolled in whole, 4 x 32 took 5 s to compile
  int row = 0;
#pragma unroll kAtOnce
  for (int w = 0; w < T.warps; ++w) row += counts[w * kCounts + T.experts];
#pragma unroll
  for (int e = 0; e < T.experts; ++e) {
    if (thread_index() == 0 && expert + e < a.n.expert_count) a.expert_offsets[expert + e] = row;
#pragma unroll kAtOnce
    for (int w = 0; w < T.warps; ++w) {
      if (w == wave) mine[e] = row;
      row += counts[w * kCounts + e];
    }
  }
  for_each_id(a, first, last, [&](int pair, int id) {
#pragma unroll
    for (int e = 0; e < T.experts; ++e) {
      const u64 peers = ballot(id == expert + e);
      if (id == expert + e) a.sorted_pairs[mine[e] + popcount(peers & lanes_below())] = pair;
      mine[e] += popcount(peers);
    }
  });
  if (block_index() != block_count() - 1) return;
  if (thread_index() == 0) a.expert_offsets[a.n.expert_count] = row;
  for (int i = row + thread_index(); i < pairs; i += block_threads()) a.sorted_pairs[i] = -1;
}

template <DispatchTile T>
__global__ void __launch_bounds__(T.warps* kWave) dispatch(const Args a) {
  static_assert(why_not(T)[0] == 0, "dispatch: the tile is not legal, see why_not(DispatchTile)");
  begin_dependent<T.dependent != 0>();
  if constexpr (T.experts == 0)
    dispatch_op<T.warps>(a, dynamic_lds());
  else
    collect_op<T>(a, dynamic_lds());
}

}  // namespace fse::gpu
