#pragma once
// Matrix products bound by reading weights once: decode, and prefill up to some rows per expert.
// Weights are the 16-row operand of the matrix unit, tokens the narrow one; the warps of a team
// split k and meet once per tile, in LDS, where their sums are taken in a fixed order.
#include "kernels/device/stream_operands.h"
#include "kernels/device/stream_slices.h"

namespace fse::gpu {

template <StreamTile T, Shape S, int kOp>
struct StreamTask {
  using Work = StreamWork<T, S, kOp>;
  using Slices = SliceStream<T, S, kOp>;
  static constexpr int kTeams = T.warps / T.split;
  static constexpr int kGroups = ceil_div(T.width, kColumns);
  static constexpr int kBatch = smaller(kGroups, 2);  // column groups whose tokens are loaded early
  static constexpr bool kFp8 = Work::kFp8Weights;
  static constexpr int kPitch = T.rows + 1;
  static constexpr int kBuffers = T.width <= 16 ? 2 : 1;

  Work& work;
  Slices& slices;
  float* partials;
  const u16* rows[kGroups];
  float sums[kGroups][4];
  int unit_index = -1;
  Unit unit{};
  int first_row = 0;
  bool live = false;

  FSE_D StreamTask(Work& w, Slices& s, float* p) : work(w), slices(s), partials(p) {}

  FSE_D void begin_tile(int tile) {
    live = tile < slices.range.last;
#pragma unroll
    for (int j = 0; j < kGroups; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[j][i] = 0;
    if (!live) return;
    first_row = tile % slices.tiles * Work::kFirstRow;
    const int u = tile / slices.tiles;
    if (u == unit_index) return;
    unit_index = u;
    unit = work.unit(u);
#pragma unroll
    for (int j = 0; j < kGroups; ++j) {
      const int column = j * kColumns + mma_column();
      rows[j] = column < work.columns(unit) ? work.token_row(unit, column) : nullptr;
    }
  }

  FSE_D void multiply_turn(int turn) {
    int slice = turn * T.split + slices.member, expert = unit.expert, columns = Work::kK;
    i64 offset = 0;
    const bool active = live && slice < slices.slices && first_row < work.row_limit(unit.expert);
    if constexpr (kOp == kMlp2) {
      const int shared = slice / Work::kRowSlices;
      slice %= Work::kRowSlices;
      expert = S.experts + shared;
      offset = i64{shared} * S.intermediate;
      columns = smaller(columns, work.a.n.shared_width - shared * S.intermediate);
    }
    Tokens<kFp8> early[kBatch];
    float scales[2] = {1, 1};
    if (active) {
#pragma unroll
      for (int j = 0; j < kBatch; ++j)
        load_tokens(early[j], rows[j] ? rows[j] + offset : nullptr, slice, columns);
      if constexpr (kFp8) {
        scales[0] = work.scale(expert, 0, first_row, slice) * kFp8Unscale;
        if constexpr (Work::kPaired)
          scales[1] = work.scale(expert, 1, first_row, slice) * kFp8Unscale;
      }
    }
    const char* slot = slices.take();
    if (!active) return;
    Vec16 weights[2][kRowParts];
    load_rows<T.rows>(weights[0], slot, 0);
    load_rows<T.rows>(weights[1], slot, 1);
    const int used = work.columns(unit);
#pragma unroll
    for (int j = 0; j < kGroups; ++j) {
      if (j > 0 && j * kColumns >= used) break;
      Tokens<kFp8> later;
      if (j >= kBatch) load_tokens(later, rows[j] ? rows[j] + offset : nullptr, slice, columns);
      Tokens<kFp8>& tokens = j < kBatch ? early[smaller(j, kBatch - 1)] : later;
      prepare<S, kOp>(tokens);
      add_slice(sums[j], weights, tokens, scales);
    }
  }

  // fp8: a slice is one scale block, so its scale is one multiply-add per result.
  FSE_D void add_slice(float (&sum)[4], const Vec16 (&weights)[2][kRowParts],
                       const Tokens<kFp8>& tokens, const float (&scales)[2]) {
    if constexpr (!kFp8) {
      multiply_slice<Work::kFormat == kF16>(sum, weights, tokens);
    } else {
      float d[4] = {0, 0, 0, 0};
      multiply_slice<false>(d, weights, tokens);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float scale = Work::kPaired && result_row(i) >= T.rows / 2 ? scales[1] : scales[0];
        if constexpr (S.format == kFp8Activations)
          scale *= shfl(tokens.scale, kWave == 32 ? 4 * result_column(i) : result_column(i));
        sum[i] += d[i] * scale;
      }
    }
  }

  FSE_D float* partial(int step, int warp) const {
    return partials + (step % kBuffers * T.warps + warp) * (T.width * kPitch);
  }

  // The team's sums become results. Buffers alternate: a warp writes the next tile's sums only
  // after the barrier behind which nobody reads this one's.
  FSE_D void end_tile(int step) {
    const int used = live ? work.columns(unit) : 0;
    float* mine = partial(step, wave_index());
#pragma unroll
    for (int j = 0; j < kGroups; ++j) {
      if (j * kColumns >= used) break;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int column = j * kColumns + result_column(i);
        if (result_row(i) < T.rows && column < T.width)
          mine[column * kPitch + result_row(i)] = sums[j][i];
      }
    }
    sync();
    if (live) reduce(step);
    if constexpr (kBuffers == 1) sync();
  }
  FSE_D void sync() const {
    if constexpr (T.split == 1)
      wave_sync();
    else
      block_sync();
  }

  FSE_D void reduce(int step) const {
    constexpr int kThreads = T.split * kWave;
    const float* from = partial(step, slices.team * T.split);
    const int limit = kOp == kMlp1 ? S.intermediate : work.row_limit(unit.expert);
    // The warps take turns, so that the work of a few results does not always fall to one.
    const int me = (slices.member * kWave + lane_index() + step * kWave) % kThreads;
    for (int item = me; item < unit.count * Work::kOutputs; item += kThreads) {
      const int m = item / Work::kOutputs, row = item % Work::kOutputs;
      if (first_row + row >= limit) continue;
      const int column = T.dense ? work.pairs[unit.begin + m] / work.a.n.choices : m;
      const float* p = from + column * kPitch + row;
      float value = 0, up = 0;
#pragma unroll
      for (int w = 0; w < T.split; ++w) {
        value += p[w * T.width * kPitch];
        if constexpr (Work::kPaired) up += p[w * T.width * kPitch + T.rows / 2];
      }
      work.store(unit, m, first_row + row, value, up);
    }
  }
};

// The whole op, by `blocks` blocks; the cooperative form calls it too.
template <StreamTile T, Shape S, int kOp>
FSE_D void stream_op(const Args& a, char* lds, int block, int blocks) {
  using Task = StreamTask<T, S, kOp>;
  StreamWork<T, S, kOp> work(a);
  // Only stage 1 needs its predecessor (the dispatch) to know which weights it will read.
  if constexpr (kOp == kStage1) begin_dependent<T.dependent != 0>();
  work.build(lds);
  const int tiles = tiles_per_unit(kOp, T, S, a.n);
  const TileRange range = tile_range<T>(work.list.count * tiles, block, blocks);
  const int slices = Task::Work::kRowSlices * (kOp == kMlp2 ? a.n.slots : 1);
  typename Task::Slices stream(work, lds, range, tiles, slices);
  if constexpr (kOp != kStage1) begin_dependent<T.dependent != 0>();

  Task task(work, stream, reinterpret_cast<float*>(lds + stream_layout(kOp, T, a.n).partials));
  for (int step = 0; step < range.steps; ++step) {
    task.begin_tile(range.at(step, stream.team, Task::kTeams));
    for (int turn = 0; turn < stream.turns; ++turn) task.multiply_turn(turn);
    task.end_tile(step);
  }
}

template <StreamTile T, Shape S, int kOp>
__global__ void __launch_bounds__(T.warps* kWave) stream(const Args a) {
  static_assert(why_not(T)[0] == 0, "stream: the tile is not legal, see why_not(StreamTile)");
  stream_op<T, S, kOp>(a, dynamic_lds(), block_index(), block_count());
}

}  // namespace fse::gpu
