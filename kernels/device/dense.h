#pragma once
// Dense products of many tokens: gate_gemm, mlp_stage1, mlp_stage2. A block multiplies a tile of
// weight rows and a tile of tokens, both through a ring in LDS, so that neither is read once for
// each row of the other.
#include "kernels/device/mma_tile.h"
#include "kernels/device/stream_operands.h"
#include "kernels/device/stream_units.h"

namespace fse::gpu {

template <DenseTile T, Shape S, int kOp>
struct DenseTask {
  using Work = StreamWork<units_of(T), S, kOp>;
  static constexpr int kRowWarps = T.rows / kWarpRows;
  static constexpr int kWarpColumns = T.columns * kRowWarps / T.warps;
  static constexpr int kGroups = kWarpColumns / kColumns;
  static constexpr int kSlotBytes = (T.rows + T.columns) * kSliceBytes;
  static constexpr int kThreads = T.warps * kWave;
  static constexpr bool kHalf = Work::kFormat == kF16;

  // 8 threads copy the 128 bytes of a line: a weight row or a token.
  static constexpr int kLines = kThreads / 8;
  static constexpr int kCopies = (T.rows + T.columns) / kLines;

  const Work& work;
  char* lds;
  Unit unit;
  int first_row, slices, row_warp, column_warp;
  const char* sources[kCopies];  // in slice 0; nullptr: zeros
  float sums[2][kGroups][4] = {};

  FSE_D DenseTask(const Work& w, char* at, int block) : work(w), lds(at) {
    const int tiles = tiles_per_unit(kOp, units_of(T), S, w.a.n), u = block / tiles;
    unit = work.unit(u);
    first_row = (block - u * tiles) * Work::kFirstRow;
    slices = Work::kRowSlices * (kOp == kMlp2 ? w.a.n.slots : 1);
    row_warp = wave_index() % kRowWarps;
    column_warp = wave_index() / kRowWarps;
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const int line = thread_index() / 8 + i * kLines, column = line - T.rows;
      if (line < T.rows)
        sources[i] = weight_row(line);
      else if (column < unit.count)
        sources[i] = reinterpret_cast<const char*>(work.token_row(unit, column));
      else
        sources[i] = nullptr;
    }
  }

  // The tile's rows in memory. Paired: of a warp's 32 rows the first 16 are gate rows, the others
  // the up rows that belong to them, so that both are in the same lane.
  FSE_D const char* weight_row(int line) const {
    int row = first_row + (Work::kPaired ? line / kWarpRows * 16 + line % 16 : line);
    if (row >= work.row_limit(unit.expert)) return nullptr;
    if (Work::kPaired && line % kWarpRows >= 16) row += S.intermediate;
    return work.weight_base(kOp == kMlp2 ? S.experts : unit.expert) + i64{row} * Work::kRowBytes;
  }

  // One slice of all lines. kMlp2: slices of all slots, one slot after the other.
  FSE_D void copy(int slice) const {
    char* to = lds + slice % T.ring * kSlotBytes;
    const int slot = kOp == kMlp2 ? slice / Work::kRowSlices : 0,
              part = slice - slot * Work::kRowSlices;
    const int columns =
        kOp == kMlp2 ? smaller(Work::kK, work.a.n.shared_width - slot * S.intermediate) : Work::kK;
    const int at = part * kSliceBytes + thread_index() % 8 * 16;
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const int line = thread_index() / 8 + i * kLines;
      const i64 other =
          i64{slot} * (line < T.rows ? S.hidden * Work::kRowBytes : 2 * S.intermediate);
      char* into = to + swizzle(line, thread_index() % 8);
      if (sources[i] && at < 2 * columns)
        async_copy16_kept(into, sources[i] + at + other);
      else
        store16(into, zero16());
    }
  }

  FSE_D void multiply_slice_of(int slice) {
    const char* rows = lds + slice % T.ring * kSlotBytes + row_warp * kWarpRows * kSliceBytes;
    const char* tokens = lds + slice % T.ring * kSlotBytes + T.rows * kSliceBytes;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      Vec16 weights[2][kRowParts];
      load_rows<16>(weights[0], rows, half);
      load_rows<16>(weights[1], rows + 16 * kSliceBytes, half);
#pragma unroll
      for (int j = 0; j < kGroups; ++j) {
        const int column = column_warp * kWarpColumns + j * kColumns + mma_column();
        Tokens<false, Meet::bf16> token;
        token.v[0] = load16(tokens + swizzle(column, half * 4 + mma_chunk()));
        token.v[1] = zero16();
        prepare<S, kOp>(token);
        multiply<kHalf>(sums[0][j], weights[0], token.v[0]);
        multiply<kHalf>(sums[1][j], weights[1], token.v[0]);
      }
    }
  }

  FSE_D void store() const {
    // Rows that pad a slot become 0: the next stage reads them.
    const int limit = kOp == kMlp1 ? S.intermediate : work.row_limit(unit.expert);
#pragma unroll
    for (int j = 0; j < kGroups; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int column = column_warp * kWarpColumns + j * kColumns + result_column(i);
        if (column >= unit.count) continue;
        if constexpr (Work::kPaired) {
          const int row = first_row + row_warp * 16 + result_row(i);
          if (row < limit) work.store(unit, column, row, sums[0][j][i], sums[1][j][i]);
        } else {
#pragma unroll
          for (int part = 0; part < 2; ++part) {
            const int row = first_row + row_warp * kWarpRows + part * 16 + result_row(i);
            if (row < limit) work.store(unit, column, row, sums[part][j][i], 0);
          }
        }
      }
  }
};

template <DenseTile T, Shape S, int kOp>
__global__ void __launch_bounds__(T.warps* kWave) dense(const Args a) {
  static_assert(why_not(T)[0] == 0, "dense: the tile is not legal, see why_not(DenseTile)");
  begin_dependent<T.dependent != 0>();
  using Task = DenseTask<T, S, kOp>;
  const typename Task::Work work(a);
  Task task(work, dynamic_lds(), block_index());
  for (int i = 0; i < T.ring - 1; ++i) {
    if (i < task.slices) task.copy(i);
    async_commit();
  }
#pragma unroll 1
  for (int slice = 0; slice < task.slices; ++slice) {
    async_wait<T.ring - 2>();
    block_sync();  // the slice is there for all, and the one before is read by all
    if (slice + T.ring - 1 < task.slices) task.copy(slice + T.ring - 1);
    async_commit();
    task.multiply_slice_of(slice);
  }
  task.store();
}

}  // namespace fse::gpu
