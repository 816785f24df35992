#pragma once
// The expert part of a layer of up to 64 tokens: every block sorts the pairs in LDS, and in stage 2
// owns 16 rows of the output, so that there is no y, no combine, and one grid barrier less.
#include "kernels/device/grid_barrier.h"
#include "kernels/device/layer_tile.h"
#include "kernels/device/stream.h"

namespace fse::gpu {

// What both stages work on: the units, and a token and a weight for each of their rows.
struct OwnedPlan {
  UnitList list;
  const int* tokens;
  const float* weights;

  template <class Work>
  FSE_D void operator()(Work& work) const {
    work.list = list;
    work.tokens = tokens;
    work.weights = weights;
    work.staged = true;
  }
};

// A token's choices, as every block keeps them in LDS where it routes all tokens; one block stores
// them, too.
struct KeepChoice {
  const Args& a;
  int* ids;
  float* weights;
  FSE_D KeepChoice(const Args& args, char* choices)
      : a(args),
        ids(reinterpret_cast<int*>(choices)),
        weights(reinterpret_cast<float*>(ids + args.n.tokens * args.n.choices)) {}
  FSE_D void operator()(i64 token, int choice, int id, float weight) const {
    const i64 pair = token * a.n.choices + choice;
    ids[pair] = id;
    weights[pair] = weight;
    if (block_index() != 0) return;
    a.topk_ids[pair] = id;
    a.topk_weights[pair] = weight;
  }
};

// Where the pieces of OwnedLayout lie.
struct OwnedLists {
  u32* bits;
  int* first_rows;
  int* tokens;
  float* weights;
  u32* units;
  int* scratch;
  FSE_D OwnedLists(char* lds, const OwnedLayout& at)
      : bits(reinterpret_cast<u32*>(lds + at.bits)),
        first_rows(reinterpret_cast<int*>(lds + at.first_rows)),
        tokens(reinterpret_cast<int*>(lds + at.tokens)),
        weights(reinterpret_cast<float*>(lds + at.weights)),
        units(reinterpret_cast<u32*>(lds + at.units)),
        scratch(reinterpret_cast<int*>(lds + at.scratch)) {}
};

// The pairs by expert, then by token, without a counting order: each expert has a bit per token.
template <LayerTile T>
struct OwnedSort {
  const Args& a;
  OwnedLists to;
  const int* ids;  // in token order
  const float* weights;

  FSE_D OwnedSort(const Args& args, char* lds, const OwnedLayout& at)
      : a(args), to(lds, at), ids(a.topk_ids), weights(a.topk_weights) {
    if constexpr (T.spread == 1) return;
    ids = reinterpret_cast<const int*>(lds + at.choices);
    weights = reinterpret_cast<const float*>(ids + a.n.tokens * a.n.choices);
  }

  // Calls body(pair, token, id) for the pairs of this thread that are not empty.
  template <class Body>
  FSE_D void for_each_pair(Body body) const {
#pragma unroll 1
    for (int pair = thread_index(); pair < a.n.tokens * a.n.choices; pair += block_threads()) {
      const int id = ids[pair];
      if (id >= 0 && id < a.n.expert_count) body(pair, pair / a.n.choices, id);
    }
  }
  FSE_D u32* of(int expert) const {
    return to.bits + expert * token_words(a.n);
  }
  FSE_D int rows_of(int expert) const {
    int rows = 0;
#pragma unroll 1
    for (int w = 0; w < token_words(a.n); ++w) rows += popcount(of(expert)[w]);
    return rows;
  }
  FSE_D static int units_of(int rows) {
    return ceil_div(rows, T.width);
  }

  FSE_D void mark() const {
#pragma unroll 1
    for (int i = thread_index(); i < a.n.expert_count * token_words(a.n); i += block_threads())
      to.bits[i] = 0;
    block_sync();
    for_each_pair([&](int, int token, int id) { atomicOr(of(id) + token / 32, 1u << token % 32); });
    block_sync();
  }

  // Units below 2^15, rows below 2^16: sums of both in one word. Returns the number of units.
  FSE_D int place_experts() const {
    const int share = ceil_div(a.n.expert_count, block_threads()), thread = thread_index();
    const int first = smaller(thread * share, a.n.expert_count);
    const int last = smaller(first + share, a.n.expert_count);
    int mine = 0;
#pragma unroll 1
    for (int e = first; e < last; ++e) mine += units_of(rows_of(e)) << 16 | rows_of(e);
    const int inclusive = wave_inclusive_sum(mine);
    if (lane_index() == kWave - 1) to.scratch[thread / kWave] = inclusive;
    block_sync();
    const int waves = block_threads() / kWave, wave = thread / kWave;
    const int up_to = wave_inclusive_sum(lane_index() < waves ? to.scratch[lane_index()] : 0);
    const int before = (wave > 0 ? shfl(up_to, wave - 1) : 0) + inclusive - mine;
    int unit = before >> 16, row = before & 0xffff;
#pragma unroll 1
    for (int e = first; e < last; ++e) {
      const int rows = rows_of(e);
      to.first_rows[e] = row;
#pragma unroll 1
      for (int begin = 0; begin < rows; begin += T.width, ++unit) {
        const u32 count = static_cast<u32>(smaller(T.width, rows - begin));
        to.units[2 * unit] = static_cast<u32>(e) | count << 16;
        to.units[2 * unit + 1] = static_cast<u32>(row + begin);
      }
      row += rows;
    }
    block_sync();
    return shfl(up_to, waves - 1) >> 16;
  }

  // All of it; returns the number of units.
  FSE_D int place() const {
    mark();
    const int count = place_experts();
    place_pairs();
    return count;
  }
  FSE_D void place_pairs() const {
    for_each_pair([&](int pair, int token, int id) {
      int row = to.first_rows[id];
#pragma unroll 1
      for (int w = 0; w < token / 32; ++w) row += popcount(of(id)[w]);
      row += popcount(of(id)[token / 32] & ((1u << token % 32) - 1));
      to.tokens[row] = token;
      to.weights[row] = weights[pair];
    });
    block_sync();
  }
};

// While stage 1 ends and blocks wait for each other, the memory has nothing to do: this block's
// rows of the down matrices of units from `first` on come closer, up to `bytes` of them.
template <Shape S>
FSE_D void prefetch_owned(const Args& a, const UnitList& list, int first, int bytes) {
  constexpr int kLine = 128, kBytes = 16 * row_bytes(kStage2, S), kLines = ceil_div(kBytes, kLine);
  const int lines = smaller(list.count, first + larger(1, bytes / kBytes)) * kLines;
  if (block_index() >= S.hidden / 16) return;
#pragma unroll 1
  for (int i = first * kLines + thread_index(); i < lines; i += block_threads()) {
    const i64 expert = list.words[2 * (i / kLines)] & 0xffff;
    const i64 row = expert * S.hidden + 16 * block_index();
    prefetch_line(static_cast<const char*>(a.down) + row * row_bytes(kStage2, S) +
                  i % kLines * kLine);
  }
}

template <LayerTile T, Shape S>
FSE_D void owned_ops(const Args& a, char* lds) {
  const OwnedSort<T> sort(a, lds, owned_layout(T, S, a.n, a.r));
  const UnitList list{sort.to.units, sort.place()};
  const OwnedPlan plan{list, sort.to.tokens, sort.to.weights};
  stream_op<stage1_tile(T), S, kStage1>(
      a, lds, plan, [] {}, [&] { prefetch_owned<S>(a, list, 0, 65536); });
  grid_arrive(a.barrier, kLastBarrier);
  stream_op<stage2_tile(T), S, kOwnedStage2>(
      a, lds, plan, [&] { grid_wait(a.barrier, kLastBarrier); }, [] {});
}

}  // namespace fse::gpu
