#pragma once
// The router of a few tokens: each wave loads its part of k straight into registers. Little memory
// is read, once and by everybody, so what counts is the way to the first byte and from the last.
#include "kernels/device/layer_tile.h"
#include "kernels/device/mail.h"
#include "kernels/device/stream_operands.h"

namespace fse::gpu {

template <LayerTile T>
FSE_D void begin_after_predecessor() {
  if constexpr (T.dependent != 0) dependency_wait();
}

// The logits are stored, and mailed where blocks route the tokens.
template <LayerTile T, Shape S>
struct FewGate {
  static constexpr int kRowBytes = row_bytes(kGate, S);
  static constexpr int kTurns = ceil_div(ceil_div(kRowBytes, kSliceBytes), T.warps);
  static constexpr int kBatch = smaller(kTurns, 4);  // slices on their way together
  static constexpr int kPitch = T.rows + 1;
  static constexpr int kTokens = 8;
  using Token = Tokens<false, Meet::bf16>;

  const Args& a;
  float* partials;  // [warp][token][row]
  int rows;
  Mail& mail;

  FSE_D void load_weights(Vec16 (&weights)[2][kRowParts], int first_row, int slice) const {
    const char* router = static_cast<const char*>(a.router) + i64{a.n.row_begin} * kRowBytes;
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int part = 0; part < kRowParts; ++part) {
        const int row = mma_row(part), at = slice * kSliceBytes + half * 64 + mma_chunk() * 16;
        const bool exists =
            (part == 0 || T.rows > 8) && row < T.rows && first_row + row < rows && at < kRowBytes;
        weights[half][part] =
            exists ? load16(router + i64{first_row + row} * kRowBytes + at) : zero16();
      }
  }

  // Weights are there before the predecessor has ended, activations are not.
  FSE_D void multiply_rows(float (&sums)[4], int first_row) const {
    const u16* x = static_cast<const u16*>(a.x) + i64{mma_column()} * S.hidden;
#pragma unroll 1
    for (int turn = 0; turn < kTurns; turn += kBatch) {
      Vec16 weights[kBatch][2][kRowParts];
      Token tokens[kBatch];
#pragma unroll
      for (int i = 0; i < kBatch; ++i)
        load_weights(weights[i], first_row, (turn + i) * T.warps + wave_index());
      begin_after_predecessor<T>();
      mail.open();
#pragma unroll
      for (int i = 0; i < kBatch; ++i)
        load_tokens(tokens[i], mma_column() < a.n.tokens ? x : nullptr,
                    (turn + i) * T.warps + wave_index(), S.hidden);
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        prepare<S, kGate>(tokens[i]);
        multiply_slice<false>(sums, weights[i], tokens[i]);
      }
    }
  }

  FSE_D void tile(int first_row) const {
    float sums[4] = {0, 0, 0, 0};
    multiply_rows(sums, first_row);
    float* mine = partials + wave_index() * (kTokens * kPitch);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (result_row(i) < T.rows && result_column(i) < kTokens)
        mine[result_column(i) * kPitch + result_row(i)] = sums[i];
    block_sync();
    const int count = smaller(T.rows, rows - first_row);
#pragma unroll 1
    for (int item = thread_index(); item < a.n.tokens * T.rows; item += block_threads()) {
      const int token = item / T.rows, row = item % T.rows;
      float sum = 0;
#pragma unroll
      for (int w = 0; w < T.warps; ++w) sum += partials[(w * kTokens + token) * kPitch + row];
      if (row >= count) continue;
      if constexpr (T.spread == 2) mail.send(token, first_row + row, sum);
      a.gate_out[i64{token} * a.n.logits_stride + first_row + row] = sum;
    }
  }
};

// All of the op, for up to 8 tokens.
template <LayerTile T, Shape S>
FSE_D void gate_few(const Args& a, char* lds, Mail& mail) {
  const FewGate<T, S> gate{a, reinterpret_cast<float*>(lds), a.n.row_end - a.n.row_begin, mail};
  const int first = block_index() * T.rows;
#pragma unroll 1
  for (int row = first; row < gate.rows; row += block_count() * T.rows) {
    if (row != first) block_sync();  // the sums may be overwritten
    gate.tile(row);
  }
  if (first < gate.rows) return;
  begin_after_predecessor<T>();
  mail.open();
}

}  // namespace fse::gpu
