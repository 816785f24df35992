#pragma once
// What is left of an op when the vendor's library has multiplied: its sums lie in f32 in
// Args::products, a row for each token.
#include "kernels/device/rows.h"

namespace fse::gpu {

FSE_D void load8(float (&v)[8], const float* from) {
  const Vec16 low = load16(from), high = load16(from + 4);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    v[i] = __uint_as_float(low.w[i]);
    v[i + 4] = __uint_as_float(high.w[i]);
  }
}

// mlp_stage1: gate rows, then up rows, slot by slot. Columns that pad a slot become 0: the next
// stage reads them.
template <RowTile T, Shape S>
__global__ void __launch_bounds__(T.threads) library_silu_mul(const Args a) {
  static_assert(why_not(T)[0] == 0, "library_silu_mul: illegal tile, see why_not(RowTile)");
  begin_dependent<T.dependent != 0>();
  constexpr int kStep = S.intermediate % 8 == 0 ? 8 : 1, kPerSlot = S.intermediate / kStep;
  const i64 items = i64{a.n.tokens} * a.n.slots * kPerSlot;
  for_each_item(items, block_index(), block_count(), [&](i64 item) {
    const i64 row = item / kPerSlot;  // token * slots + slot
    const int column = static_cast<int>(item - row * kPerSlot) * kStep;
    const int left = a.n.shared_width - static_cast<int>(row % a.n.slots) * S.intermediate - column;
    const float* gate = a.products + row * (2 * S.intermediate) + column;
    u16* to = static_cast<u16*>(a.shared_h) + row * S.intermediate + column;
    if constexpr (kStep == 1) {
      *to = left > 0 ? to_activation<S.format>(silu(gate[0]) * gate[S.intermediate]) : 0;
    } else {
      float v[8], up[8];
      load8(v, gate);
      load8(up, gate + S.intermediate);
#pragma unroll
      for (int i = 0; i < 8; ++i) v[i] = i < left ? silu(v[i]) * up[i] : 0.f;
      store16(to, pack8<S.format>(v));
    }
  });
}

// mlp_stage2: times the token's shared weight.
template <RowTile T, Shape S>
__global__ void __launch_bounds__(T.threads) library_weigh(const Args a) {
  static_assert(why_not(T)[0] == 0, "library_weigh: illegal tile, see why_not(RowTile)");
  begin_dependent<T.dependent != 0>();
  for_each_item(row_items(S, a.n, false), block_index(), block_count(), [&](i64 item) {
    const ColumnsOf8<S> at(item);
    const float weight = a.r.gated ? a.shared_weight[at.token] : a.r.shared_constant;
    const float* from = a.products + at.token * S.hidden + at.column;
    float v[8] = {};
    if constexpr (ColumnsOf8<S>::kWhole)
      load8(v, from);
    else
      for (int i = 0; i < 8 && at.column + i < S.hidden; ++i) v[i] = from[i];
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] *= weight;
    at.store(a.shared_out, at.token, pack8<S.format>(v));
  });
}

}  // namespace fse::gpu
