#pragma once
// The matrix products of stream.h for every shape and alignment: a wave for each result, its lanes
// along k. Slow, short, and what runs where no faster kernel fits.
#include "kernels/device/stream_units.h"

namespace fse::gpu {

// One weight row: k values, in f32, without block scales.
template <int kFormat>
FSE_D float weight_at(const void* base, i64 index) {
  if constexpr (kFormat >= kFp8) return e4m3_to_f32(static_cast<const u8*>(base)[index]);
  return from_activation<kFormat>(static_cast<const u16*>(base)[index]);
}

// The dot product of a row of `k` weights and a token, one f32 sum per lane, then over the lanes.
// activations=fp8: tokens are rounded per 128 columns, as the fast kernels do.
template <int kFormat, int kTokenFormat>
FSE_D float dot(const void* base, i64 first, const u16* token, int k, const float* scales) {
  float sum = 0;
  for (int block = 0; block < k; block += 128) {
    float largest = 0, part = 0;
    if constexpr (kTokenFormat == kFp8Activations) {
      for (int i = block + lane_index(); i < smaller(block + 128, k); i += kWave)
        largest = fmaxf(largest, fabsf(bf16_to_f32(token[i])));
      largest = wave_max(largest);
    }
    const float token_scale = largest > 0 ? largest * (1.f / kE4m3Largest) : 1.f;
    const float inverse = 1.f / token_scale;
    for (int i = block + lane_index(); i < smaller(block + 128, k); i += kWave) {
      float v = from_activation<kTokenFormat>(token[i]);
      if constexpr (kTokenFormat == kFp8Activations) v = round_to_e4m3(v * inverse);
      part += weight_at<kFormat>(base, first + i) * v;
    }
    if constexpr (kFormat >= kFp8) part *= scales[block / 128];
    sum += kTokenFormat == kFp8Activations ? part * token_scale : part;
  }
  return wave_sum(sum);
}

template <Shape S, int kOp>
struct PlainRow {
  static constexpr bool kPaired = kOp == kStage1 || kOp == kMlp1;
  static constexpr int kK = kOp == kGate || kPaired ? S.hidden : S.intermediate;
  static constexpr int kBlocks = ceil_div(kK, 128);

  // Row `row` of an expert's matrix, its first `k` columns; part 1: up.
  FSE_D static float of(const Args& a, int expert, int part, int row, const u16* token,
                        int k = kK) {
    if constexpr (kOp == kGate) {
      constexpr int kTokens = S.format == kF16 ? kF16 : kBf16;
      return dot<kBf16, kTokens>(a.router, i64{row} * kK, token, k, nullptr);
    } else if constexpr (kPaired) {
      const i64 first = (i64{2 * expert + part} * S.intermediate + row) * kK;
      const float* scales =
          a.gate_up_scale +
          (i64{2 * expert + part} * ceil_div(S.intermediate, 128) + row / 128) * kBlocks;
      return dot<S.format, S.format>(a.gate_up, first, token, k, scales);
    } else {
      const float* scales =
          a.down_scale + (i64{expert} * ceil_div(S.hidden, 128) + row / 128) * kBlocks;
      return dot<S.format, S.format>(a.down, (i64{expert} * S.hidden + row) * kK, token, k, scales);
    }
  }
};

// Results of one token row (or sorted pair) `t`, output `row`; every lane calls, lane 0 stores.
template <Shape S, int kOp>
FSE_D void plain_result(const Args& a, i64 t, int row, int expert) {
  using Row = PlainRow<S, kOp>;
  const u16* x = static_cast<const u16*>(a.x);
  const int width = S.intermediate, slots = a.n.slots;
  float value = 0;
  u16* to = nullptr;
  if constexpr (kOp == kGate) {
    value = Row::of(a, 0, 0, a.n.row_begin + row, x + t * S.hidden);
    if (lane_index() == 0) a.gate_out[t * a.n.logits_stride + row] = value;
    return;
  } else if constexpr (kOp == kStage1) {
    const u16* token = x + i64{a.sorted_pairs[t] / a.n.choices} * S.hidden;
    value = silu(Row::of(a, expert, 0, row, token)) * Row::of(a, expert, 1, row, token);
    to = static_cast<u16*>(a.h) + t * width + row;
  } else if constexpr (kOp == kStage2) {
    const int pair = a.sorted_pairs[t];
    value =
        a.topk_weights[pair] * Row::of(a, expert, 0, row, static_cast<const u16*>(a.h) + t * width);
    to = static_cast<u16*>(a.y) + i64{pair} * S.hidden + row;
  } else if constexpr (kOp == kMlp1) {
    const int slot = row / width, place = row % width;
    const u16* token = x + t * S.hidden;
    const int e = S.experts + slot;
    if (row < a.n.shared_width)  // what pads the last slot is 0, and not read
      value = silu(Row::of(a, e, 0, place, token)) * Row::of(a, e, 1, place, token);
    to = static_cast<u16*>(a.shared_h) + t * slots * width + row;
  } else {
    const u16* token = static_cast<const u16*>(a.shared_h) + t * slots * width;
    for (int s = 0; s < slots; ++s)
      value += Row::of(a, S.experts + s, 0, row, token + i64{s} * width,
                       smaller(width, a.n.shared_width - s * width));
    value *= a.r.gated ? a.shared_weight[t] : a.r.shared_constant;
    to = static_cast<u16*>(a.shared_out) + t * S.hidden + row;
  }
  if (lane_index() == 0) *to = to_activation<S.format>(value);
}

// The expert whose sorted rows hold row t.
FSE_D int expert_of(const Args& a, i64 t) {
  int low = 0, high = a.n.expert_count;  // offsets[low] <= t < offsets[high]
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (a.expert_offsets[middle] <= t)
      low = middle;
    else
      high = middle;
  }
  return low;
}

template <PlainTile T, Shape S, int kOp>
__global__ void __launch_bounds__(T.warps* kWave) plain(const Args a) {
  static_assert(why_not(T)[0] == 0, "plain: the tile is not legal, see why_not(PlainTile)");
  begin_dependent<T.dependent != 0>();
  constexpr bool kGrouped = kOp == kStage1 || kOp == kStage2;
  const int columns = kOp == kGate     ? a.n.row_end - a.n.row_begin
                      : kOp == kMlp1   ? a.n.slots * S.intermediate
                      : kOp == kStage1 ? S.intermediate
                                       : S.hidden;
  const i64 rows = kGrouped ? a.expert_offsets[a.n.expert_count] : a.n.tokens;
  const i64 stride = i64{block_count()} * T.warps;
  for (i64 item = i64{block_index()} * T.warps + wave_index(); item < rows * columns;
       item += stride) {
    const i64 t = item / columns;
    plain_result<S, kOp>(a, t, static_cast<int>(item % columns), kGrouped ? expert_of(a, t) : 0);
  }
}

}  // namespace fse::gpu
