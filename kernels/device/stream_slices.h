#pragma once
// The weight stream of a warp: slices of 16 rows x 128 bytes through a ring of its own, so that no
// block barrier stands between memory and the matrix unit.
#include "kernels/device/mma_tile.h"
#include "kernels/device/stream_units.h"

namespace fse::gpu {

// Tile numbers of one block, step by step, cut for its teams; unit-major, so that neighbours share
// tokens. Neighbouring blocks read neighbouring rows in round robin, which memory likes, and chunks
// of T.robin steps keep a block with the same tokens.

// The unit of a tile. A division costs a wave as much as a slice's products, and most work that is
// not grouped is one unit.
FSE_D int unit_of(int tile, int tiles) {
  return tile < tiles ? 0 : tile / tiles;
}

template <StreamTile T, int kOp>
struct TileRange {
  static constexpr int kTeams = T.warps / T.split;
  int first, last, stride, steps;

  FSE_D TileRange(int units, int tiles, int block, int blocks) {
    const int total = units * tiles;
    if constexpr (kOp == kOwnedStage2) {  // one tile of each unit
      first = block;
      last = block < tiles ? total : 0;
      stride = tiles;
      steps = block < tiles ? ceil_div(units, kTeams) : 0;
    } else if constexpr (T.robin != 0) {
      constexpr int kChunk = T.robin * kTeams;
      first = block * kChunk;
      last = total;
      stride = blocks * kChunk;
      const int whole = unit_of(total, stride),
                rest = smaller(larger(total - whole * stride - first, 0), kChunk);
      steps = whole * T.robin + ceil_div(rest, kTeams);
    } else {
      first = static_cast<int>(i64{total} * block / blocks);
      last = static_cast<int>(i64{total} * (block + 1) / blocks);
      stride = 0;
      steps = ceil_div(last - first, kTeams);
    }
  }
  FSE_D int at(int step, int team) const {
    if constexpr (kOp == kOwnedStage2) return first + (step * kTeams + team) * stride;
    if constexpr (T.robin > 1)
      return first + step / T.robin * stride + step % T.robin * kTeams + team;
    return first + (T.robin == 1 ? step * stride : step * kTeams) + team;
  }
};

// The slices of one warp, in order, through `T.ring` LDS slots: all but one are on their way.
template <StreamTile T, Shape S, int kOp>
struct SliceStream {
  using Work = StreamWork<T, S, kOp>;
  static constexpr int kRowsPerPass = kWave / 8;  // 8 lanes copy the 128 bytes of a row
  static constexpr int kPasses = ceil_div(T.rows, kRowsPerPass);
  // Every slice is 128 bytes of 16 rows: nothing to ask before it is copied.
  static constexpr bool kWhole = Work::kGrouped && Work::kRowBytes % kSliceBytes == 0 &&
                                 (Work::kPaired ? S.intermediate : S.hidden) % Work::kFirstRow == 0;

  const Work& work;
  TileRange<T, kOp> range;
  char* slots;
  char* scales;  // fp8: of each slot, copied with it: a register would be waited for when it moves
  u64 policy;
  int tiles, turns, slices, team, member;
  // The next slice to copy: turn of step, and the lane's place in its tile.
  int step = 0, turn = 0, to = 0, from = 0, filled = 0;
  const char* source = nullptr;
  const float* scale_source = nullptr;
  int rows_left = 0, expert = 0, row = 0;

  FSE_D SliceStream(const Work& w, char* lds, TileRange<T, kOp> r, int tiles_per_unit,
                    int slice_count)
      : work(w), range(r), tiles(tiles_per_unit), slices(slice_count) {
    const int warp = wave_index();
    slots = lds + warp * (T.ring * T.rows * kSliceBytes);
    scales = lds + stream_layout(kOp, T, w.a.n).scales + warp * (T.ring * kScaleBytes);
    policy = evict_first_policy();
    team = warp / T.split;
    member = warp % T.split;
    turns = ceil_div(slices, T.split);
    locate();
  }
  // The first slices are on their way: all but one of the slots.
  FSE_D void fill() {
#pragma unroll 1
    for (; filled < T.ring - 1; ++filled) issue();
  }
  // As many of them as there are, where more steps come behind those of the range.
  FSE_D void begin_to_fill() {
#pragma unroll 1
    for (; filled < T.ring - 1 && step < range.steps; ++filled) issue();
  }
  FSE_D void extend(TileRange<T, kOp> r) {
    range = r;
    locate();
    fill();
  }

  // Where this lane's rows of the tile at `step` begin.
  FSE_D void locate() {
    const int tile = range.at(step, team);
    rows_left = 0;
    if (step >= range.steps || tile >= range.last) return;
    const int unit = unit_of(tile, tiles);
    expert = work.unit(unit).expert;
    row = (tile - unit * tiles) * Work::kFirstRow;
    rows_left = work.row_limit(expert) - row;
    source = work.weight_base(kOp == kMlp2 ? S.experts : expert) +
             i64{row + (lane_index() >> 3)} * Work::kRowBytes + (lane_index() & 7) * 16;
    if constexpr (Work::kFp8Weights && kOp != kMlp2)
      scale_source = work.scale(expert, row, 0, lane_index() & 1);
  }

  FSE_D void issue() {
    if (step < range.steps) {
      const int slice = turn * T.split + member;
      if (rows_left > 0 && slice < slices) {
        if constexpr (kWhole)
          copy_whole(slice);
        else
          copy(slice);
        if constexpr (Work::kFp8Weights)
          if (lane_index() < 2)
            async_copy4(scales + to * kScaleBytes + 4 * lane_index(),
                        kOp == kMlp2 ? work.scale(expert, row, slice, 0) : scale_source + slice);
      }
      if (++turn == turns) {
        turn = 0;
        ++step;
        locate();
      }
    }
    async_commit();
    to = to + 1 == T.ring ? 0 : to + 1;
  }

  FSE_D void copy_whole(int slice) {
    char* slot = slots + to * (T.rows * kSliceBytes);
    const char* at = source + slice * kSliceBytes;
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
      const int row = pass * kRowsPerPass + (lane_index() >> 3);
      const bool up = Work::kPaired && pass * kRowsPerPass >= T.rows / 2;
      const int first = pass * kRowsPerPass + (up ? S.intermediate - T.rows / 2 : 0);
      async_copy16(slot + swizzle(row, lane_index() & 7), at + i64{first} * Work::kRowBytes,
                   policy);
    }
  }
  FSE_D void copy(int slice) {
    char* slot = slots + to * (T.rows * kSliceBytes);
    const char* at = source;
    int bytes_left = Work::kRowBytes - (lane_index() & 7) * 16;
    if constexpr (kOp == kMlp2) {  // slices of all slots, one slot after the other
      const int shared = slice / Work::kRowSlices;
      slice %= Work::kRowSlices;
      at += i64{shared} * S.hidden * Work::kRowBytes;
      const int columns = work.a.n.shared_width - shared * S.intermediate;
      bytes_left -= larger(0, S.intermediate - columns) * weight_bytes(S.format);
    }
    const bool in_row = slice * kSliceBytes < bytes_left;
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
      const int row = pass * kRowsPerPass + (lane_index() >> 3);
      if (T.rows < kRowsPerPass && row >= T.rows) break;
      // Paired: rows 8.. of the tile are up rows, `intermediate` rows behind the gate rows.
      const bool up = Work::kPaired && pass * kRowsPerPass >= T.rows / 2;
      const int first = pass * kRowsPerPass + (up ? S.intermediate - T.rows / 2 : 0);
      const int place = up ? row - T.rows / 2 : row;
      char* lds = slot + swizzle(row, lane_index() & 7);
      if (in_row && place < rows_left)
        async_copy16(lds, at + i64{first} * Work::kRowBytes + slice * kSliceBytes, policy);
      else
        store16(lds, zero16());
    }
  }

  // The oldest slice has arrived; the slot read before it is filled again.
  FSE_D const char* take(const Scales*& its) {
    async_wait<T.ring - 2>();
    wave_sync();
    its = reinterpret_cast<const Scales*>(scales + from * kScaleBytes);
    issue();
    const char* slot = slots + from * (T.rows * kSliceBytes);
    from = from + 1 == T.ring ? 0 : from + 1;
    return slot;
  }
};

}  // namespace fse::gpu
