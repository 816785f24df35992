#pragma once
// Ops that touch each activation once: the end of the unfused routing chain, combine, shared_add.
#include "kernels/device/numbers.h"

namespace fse::gpu {

template <class Body>
FSE_D void for_each_item(i64 items, int block, int blocks, Body body) {
  const i64 stride = i64{blocks} * block_threads();
  for (i64 i = i64{block} * block_threads() + thread_index(); i < items; i += stride) body(i);
}

template <RowTile T>
__global__ void __launch_bounds__(T.threads) renormalize(const Args a) {
  static_assert(why_not(T)[0] == 0, "renormalize: the tile is not legal, see why_not(RowTile)");
  begin_dependent<T.dependent != 0>();
  for_each_item(a.n.tokens, block_index(), block_count(), [&](i64 t) {
    float* w = a.topk_weights + t * a.n.choices;
    float sum = 0;
    for (int j = 0; j < a.n.top_k; ++j) sum += w[j];
    const float divisor = a.r.renormalize ? sum + 1e-20f : 1.f;  // see core/routing.h
    for (int j = 0; j < a.n.top_k; ++j) w[j] = w[j] / divisor * a.r.scaling;
  });
}

template <RowTile T>
__global__ void __launch_bounds__(T.threads) shared_activation(const Args a) {
  static_assert(why_not(T)[0] == 0, "shared_activation: illegal tile, see why_not(RowTile)");
  begin_dependent<T.dependent != 0>();
  for_each_item(a.n.tokens, block_index(), block_count(), [&](i64 t) {
    a.shared_weight[t] = sigmoid(a.shared_logit[t * a.shared_logit_stride]);
  });
}

template <RowTile T>
__global__ void __launch_bounds__(T.threads) slot_append(const Args a) {
  static_assert(why_not(T)[0] == 0, "slot_append: the tile is not legal, see why_not(RowTile)");
  begin_dependent<T.dependent != 0>();
  for_each_item(a.n.tokens, block_index(), block_count(), [&](i64 t) {
    for (int s = 0; s < a.n.slots; ++s) {
      const i64 at = t * a.n.choices + a.n.top_k + s;
      a.topk_ids[at] = a.n.expert_count - a.n.slots + s;
      a.topk_weights[at] = a.r.gated ? a.shared_weight[t] : a.r.shared_constant;
    }
  });
}

// 8 neighbouring activations in f32.
template <int kFormat>
FSE_D void add8(float (&sum)[8], const Vec16& v) {
#pragma unroll
  for (int i = 0; i < 8; ++i)
    sum[i] += from_activation<kFormat>(static_cast<u16>(v.w[i >> 1] >> 16 * (i & 1)));
}
template <int kFormat>
FSE_D Vec16 pack8(const float (&v)[8]) {
  Vec16 packed = zero16();
#pragma unroll
  for (int i = 0; i < 8; ++i)
    packed.w[i >> 1] |= static_cast<u32>(to_activation<kFormat>(v[i])) << 16 * (i & 1);
  return packed;
}

// Item i is 8 columns of one token; a row whose length 8 does not divide ends one by one.
template <Shape S>
struct ColumnsOf8 {
  static constexpr int kPerRow = ceil_div(S.hidden, 8);
  static constexpr bool kWhole = S.hidden % 8 == 0;
  i64 token;
  int column;
  FSE_D explicit ColumnsOf8(i64 item)
      : token(item / kPerRow), column(static_cast<int>(item % kPerRow) * 8) {}

  FSE_D Vec16 load(const void* base, i64 row) const {
    const u16* from = static_cast<const u16*>(base) + row * S.hidden + column;
    if constexpr (kWhole) {
      return load16(from);
    } else {
      Vec16 v = zero16();
      for (int i = 0; i < 8 && column + i < S.hidden; ++i)
        v.w[i >> 1] |= static_cast<u32>(from[i]) << 16 * (i & 1);
      return v;
    }
  }
  FSE_D void store(void* base, i64 row, const Vec16& v) const {
    u16* to = static_cast<u16*>(base) + row * S.hidden + column;
    if constexpr (kWhole) {
      store16(to, v);
    } else {
      for (int i = 0; i < 8 && column + i < S.hidden; ++i)
        to[i] = static_cast<u16>(v.w[i >> 1] >> 16 * (i & 1));
    }
  }
};

// A token's y rows in choice order: the same sum on every run.
template <Shape S>
FSE_D void combine_op(const Args& a, int block, int blocks) {
  for_each_item(row_items(S, a.n, false), block, blocks, [&](i64 item) {
    const ColumnsOf8<S> at(item);
    float sum[8] = {};
    const int* ids = a.topk_ids + at.token * a.n.choices;
    constexpr int kBatch = 4;  // rows on their way at the same time
    for (int first = 0; first < a.n.choices; first += kBatch) {
      Vec16 rows[kBatch];
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        const int id = first + j < a.n.choices ? ids[first + j] : -1;
        const bool exists = id >= 0 && id < a.n.expert_count;
        rows[j] = exists ? at.load(a.y, at.token * a.n.choices + first + j) : zero16();
      }
#pragma unroll
      for (int j = 0; j < kBatch; ++j) add8<S.format>(sum, rows[j]);
    }
    at.store(a.out, at.token, pack8<S.format>(sum));
  });
}
template <RowTile T, Shape S>
__global__ void __launch_bounds__(T.threads) combine(const Args a) {
  static_assert(why_not(T)[0] == 0, "combine: the tile is not legal, see why_not(RowTile)");
  begin_dependent<T.dependent != 0>();
  combine_op<S>(a, block_index(), block_count());
}

template <RowTile T, Shape S>
__global__ void __launch_bounds__(T.threads) shared_add(const Args a) {
  static_assert(why_not(T)[0] == 0, "shared_add: the tile is not legal, see why_not(RowTile)");
  begin_dependent<T.dependent != 0>();
  for_each_item(row_items(S, a.n, false), block_index(), block_count(), [&](i64 item) {
    const ColumnsOf8<S> at(item);
    float sum[8] = {};
    add8<S.format>(sum, at.load(a.out, at.token));
    add8<S.format>(sum, at.load(a.shared_out, at.token));
    at.store(a.out, at.token, pack8<S.format>(sum));
  });
}

}  // namespace fse::gpu
