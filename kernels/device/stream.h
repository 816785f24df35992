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
  using Range = TileRange<T, kOp>;
  static constexpr int kGroups = ceil_div(T.width, kColumns);
  static constexpr bool kFp8 = Work::kFp8Weights;
  static constexpr int kPitch = T.rows + 1;
  static constexpr int kBuffers = T.width <= 16 ? 2 : 1;
  // A warp's tokens stay in registers from tile to tile where they fit: a quarter of a thread's.
  static constexpr int kTurns = ceil_div(Work::kRowSlices, T.split);
  static constexpr int kHeldWords = kTurns * kGroups * (kFp8 ? 16 : 8);
  static constexpr bool kHold = kOp != kMlp2 && kHeldWords <= 1024 / T.warps;
  static constexpr bool kHalf = kFp8 && kHold && kUnpacksToHalf;
  static constexpr bool kCodes = kFp8 && S.format == kFp8Activations && kMultipliesCodes;
  static constexpr Meet kMeet = kCodes ? Meet::codes : kHalf ? Meet::half : Meet::bf16;
  // Stage 2 meets another unit in almost every tile: the next one's tokens are then on their way
  // while this one's are multiplied.
  static constexpr bool kAhead = kHold && (kOp == kStage2 || kOp == kOwnedStage2) &&
                                 kHeldWords * (1 + kGroups) <= 1024 / T.warps;
  // Else they are loaded for each slice, those of the first groups before its weights are awaited.
  static constexpr int kBatch = smaller(kGroups, kFp8 ? 2 : 4);
  using Token = Tokens<kFp8, kMeet>;

  Work& work;
  Slices& slices;
  float* partials;
  const u16* rows[kGroups];
  Token held[kHold ? kTurns : 1][kHold ? kGroups : kBatch];
  Token ahead[kAhead ? kTurns : 1][kAhead ? kGroups : 1];
  float sums[kGroups][4];
  float owned[4] = {0, 0, 0, 0};  // kOwnedColumns: of all units so far, weighted
  int unit_index = -1, ahead_index = -1;
  Unit unit{};
  int first_row = 0;
  bool live = false;

  FSE_D StreamTask(Work& w, Slices& s, float* p) : work(w), slices(s), partials(p) {
    if constexpr (Work::kOwned && !Work::kOwnedColumns) clear_own();
  }

  FSE_D void begin_tile(int tile) {
    live = tile < slices.range.last;
#pragma unroll
    for (int j = 0; j < kGroups; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[j][i] = 0;
    if (!live) return;
    const int u = unit_of(tile, slices.tiles);
    first_row = (tile - u * slices.tiles) * Work::kFirstRow;
    if (u == unit_index) return;
    const bool same_tokens = kOp == kStage1 && T.dense && unit_index >= 0;
    unit_index = u;
    unit = work.unit(u);
    if (same_tokens) return;
    if constexpr (kAhead) {
      if (ahead_index != u) load_unit(ahead, u);
#pragma unroll
      for (int turn = 0; turn < kTurns; ++turn)
#pragma unroll
        for (int j = 0; j < kGroups; ++j) held[turn][j] = ahead[turn][j];
    } else if constexpr (kHold) {
      load_unit(held, u);
    } else {
      find_rows(unit);
    }
    if constexpr (kHold)
#pragma unroll
      for (int turn = 0; turn < kTurns; ++turn)
#pragma unroll
        for (int j = 0; j < kGroups; ++j) prepare<S, kOp>(held[turn][j]);
  }

  // The tokens of the unit of a tile to come.
  FSE_D void look_ahead(int tile) {
    if constexpr (kAhead) {
      if (tile >= slices.range.last || unit_of(tile, slices.tiles) == unit_index) return;
      ahead_index = unit_of(tile, slices.tiles);
      load_unit(ahead, ahead_index);
    }
  }

  FSE_D void find_rows(const Unit& u) {
#pragma unroll
    for (int j = 0; j < kGroups; ++j) {
      const int column = j * kColumns + mma_column();
      rows[j] = work.has_column(u, column) ? work.token_row(u, column) : nullptr;
    }
  }
  template <int kLoadTurns, int kLoadGroups>
  FSE_D void load_unit(Token (&to)[kLoadTurns][kLoadGroups], int u) {
    find_rows(work.unit(u));
#pragma unroll
    for (int turn = 0; turn < kLoadTurns; ++turn)
#pragma unroll
      for (int j = 0; j < kLoadGroups; ++j)
        load_tokens(to[turn][j], rows[j], turn * T.split + slices.member, Work::kK);
  }

  FSE_D void multiply_tile() {
    if constexpr (kHold) {
#pragma unroll
      for (int turn = 0; turn < kTurns; ++turn) multiply_turn(turn);
    } else {
#pragma unroll 1
      for (int turn = 0; turn < slices.turns; ++turn) multiply_turn(turn);
    }
  }

  // The steps of the stream's range. When the last weights are on their way, `at_last` may send for
  // what comes after this op.
  template <class Last>
  FSE_D void run(Last at_last) {
#pragma unroll 1
    for (int step = 0; step < slices.range.steps; ++step) {
      begin_tile(slices.range.at(step, slices.team));
      if (step + 1 < slices.range.steps)
        look_ahead(slices.range.at(step + 1, slices.team));
      else
        at_last();
      multiply_tile();
      end_tile(step);
    }
  }

  FSE_D void multiply_turn(int turn) {
    int slice = turn * T.split + slices.member, columns = Work::kK;
    i64 offset = 0;
    const bool active = live && slice < slices.slices && first_row < work.row_limit(unit.expert);
    if constexpr (kOp == kMlp2) {
      const int shared = slice / Work::kRowSlices;
      slice %= Work::kRowSlices;
      offset = i64{shared} * S.intermediate;
      columns = smaller(columns, work.a.n.shared_width - shared * S.intermediate);
    }
    const auto load = [&](Token& to, int j) {
      load_tokens(to, rows[j] ? rows[j] + offset : nullptr, slice, columns);
    };
    Token(&early)[kHold ? kGroups : kBatch] = held[kHold ? turn : 0];
    if (!kHold && active)
#pragma unroll
      for (int j = 0; j < kBatch; ++j) load(early[j], j);
    const Scales* its;
    const char* slot = slices.take(its);
    if (!active) return;
    Scales scales;  // only there where there is a slice
    if constexpr (Work::kFp8Weights) scales = *its;
    Vec16 weights[2][kRowParts];
    load_rows<T.rows>(weights[0], slot, 0);
    load_rows<T.rows>(weights[1], slot, 1);
    const int used = work.columns(unit);
#pragma unroll
    for (int j = 0; j < kGroups; ++j) {
      if (j > 0 && j * kColumns >= used) break;
      if constexpr (kHold) {
        add_slice(sums[j], weights, early[j], scales);
      } else {
        Token& tokens = early[j % kBatch];
        if (j >= kBatch) load(tokens, j);
        prepare<S, kOp>(tokens);
        add_slice(sums[j], weights, tokens, scales);
      }
    }
  }

  // fp8: a slice is one scale block, so its scale is one multiply-add per result.
  FSE_D void add_slice(float (&sum)[4], const Vec16 (&weights)[2][kRowParts], const Token& tokens,
                       const Scales& scales) {
    if constexpr (!kFp8) {
      multiply_slice<Work::kFormat == kF16>(sum, weights, tokens);
    } else {
      float d[4] = {0, 0, 0, 0};
      multiply_slice<false>(d, weights, tokens);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float scale = Work::kPaired && result_row(i) >= T.rows / 2 ? scales.v[1] : scales.v[0];
        if constexpr (kMeet == Meet::bf16) scale *= kFp8Unscale;
        if constexpr (kHalf || S.format == kFp8Activations)
          scale *= tokens.results[i % Token::kResults];
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
    if constexpr (Work::kOwnedColumns) return add_owned();
    if constexpr (Work::kOwned) return add_gathered();
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
  // A dense column is the same token in every unit, so its results stay here until the last unit.
  FSE_D void add_owned() {
    static_assert(!Work::kOwnedColumns || kGroups == 1);
    if (!live) return;
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (const int token = result_column(i); work.has_column(unit, token))
        owned[i] += sums[0][i] * work.weights[work.row_of(unit, token)];
  }
  // Else they are added in LDS that is this warp's alone, [token][row].
  FSE_D float* own() const {
    return partials + wave_index() * (work.a.n.tokens * kPitch);
  }
  FSE_D void clear_own() {
    float* mine = own();  // every lane asks: it is a wave operation
#pragma unroll 1
    for (int i = lane_index(); i < work.a.n.tokens * kPitch; i += kWave) mine[i] = 0;
    wave_sync();
  }
  FSE_D void add_gathered() {
    if (!live) return;
    float* mine = own();
#pragma unroll
    for (int j = 0; j < kGroups; ++j) {
      if (j * kColumns >= unit.count) break;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int column = j * kColumns + result_column(i), row = unit.begin + column;
        if (column < unit.count)
          mine[work.tokens[row] * kPitch + result_row(i)] += sums[j][i] * work.weights[row];
      }
    }
    wave_sync();  // the next unit's results of a token may come from another lane
  }
  // The block's output rows, all warps' sums in order.
  FSE_D void end_owned() {
    if constexpr (Work::kOwnedColumns) {
      float* mine = partial(0, wave_index());
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (result_column(i) < T.width) mine[result_column(i) * kPitch + result_row(i)] = owned[i];
    }
    block_sync();
    const int pitch = (Work::kOwnedColumns ? T.width : work.a.n.tokens) * kPitch;
#pragma unroll 1
    for (int item = thread_index(); item < work.a.n.tokens * 16; item += block_threads()) {
      const int token = item / 16, row = block_index() * 16 + item % 16;
      float sum = 0;
#pragma unroll
      for (int w = 0; w < T.warps; ++w) sum += partials[w * pitch + token * kPitch + item % 16];
      if (row < S.hidden)
        static_cast<u16*>(work.a.out)[i64{token} * S.hidden + row] = to_activation<S.format>(sum);
    }
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
#pragma unroll 1
    for (int item = me; item < unit.count * Work::kOutputs; item += kThreads) {
      const int m = item / Work::kOutputs, row = item % Work::kOutputs;
      if (first_row + row >= limit) continue;
      const int column = T.dense ? work.token_of(unit.begin + m) : m;
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

// The whole op. `plan` fills in the work, waiting for what that needs (stage 1: the dispatch);
// `before_tokens` returns when the activations are there. Between the two the first weights are
// already on their way. When all of them are, `at_last` may send for what comes after this op.
template <StreamTile T, Shape S, int kOp, class Plan, class Before, class Last>
FSE_D void stream_op(const Args& a, char* lds, Plan plan, Before before_tokens, Last at_last) {
  using Task = StreamTask<T, S, kOp>;
  StreamWork<T, S, kOp> work(a);
  plan(work);
  const int tiles = tiles_per_unit(kOp, T, S, a.n);
  const TileRange<T, kOp> range(work.list.count, tiles, block_index(), block_count());
  const int slices = Task::Work::kRowSlices * (kOp == kMlp2 ? a.n.slots : 1);
  typename Task::Slices stream(work, lds, range, tiles, slices);
  stream.fill();
  before_tokens();

  Task task(work, stream, reinterpret_cast<float*>(lds + stream_layout(kOp, T, a.n).partials));
  task.run(at_last);
  if constexpr (kOp == kOwnedStage2) task.end_owned();
}

// Every token reads the slots: their weights come closer while the routing leaves the memory idle.
template <Shape S>
FSE_D void prefetch_slots(const Args& a) {
  constexpr int kLine = 128;
  const int slots = a.n.expert_count - S.experts;
  const i64 me = i64{block_index()} * block_threads() + thread_index();
  const i64 stride = i64{block_count()} * block_threads();
  const auto fetch = [&](const void* weights, i64 expert_bytes) {
    const char* first = static_cast<const char*>(weights) + S.experts * expert_bytes;
#pragma unroll 1
    for (i64 at = me * kLine; at < slots * expert_bytes; at += stride * kLine)
      prefetch_line(first + at);
  };
  fetch(a.gate_up, 2LL * S.intermediate * row_bytes(kStage1, S));
  fetch(a.down, i64{S.hidden} * row_bytes(kStage2, S));
}

// A generic lambda would do, but NVRTC takes it for a host function.
template <bool kWaits, Shape S>
struct BuildFromOffsets {
  char* lds;
  template <class Work>
  FSE_D void operator()(Work& work) const {
    if constexpr (kWaits) prefetch_slots<S>(work.a);
    begin_dependent<kWaits>();
    work.build(lds);
  }
};

template <StreamTile T, Shape S, int kOp>
__global__ void __launch_bounds__(T.warps* kWave, 1) stream(const Args a) {
  static_assert(why_not(T)[0] == 0, "stream: the tile is not legal, see why_not(StreamTile)");
  stream_op<T, S, kOp>(
      a, dynamic_lds(), BuildFromOffsets < T.dependent != 0 && kOp == kStage1, S > {dynamic_lds()},
      [] { begin_dependent<T.dependent && kOp != kStage1>(); }, [] {});
}

}  // namespace fse::gpu
