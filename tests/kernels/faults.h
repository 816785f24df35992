#pragma once
// Kernels for the emulator's tests; most do wrong on purpose.
#include "kernels/device/mma_tile.h"

namespace fse::gpu {

// One matrix step with values that tell every element apart.
inline void product(const Args a) {
  Vec16 rows[kRowParts], token = zero16();
  for (int part = 0; part < kRowParts; ++part)
    for (int i = 0; i < 8; ++i) {
      const int k = mma_chunk() * 8 + i;
      const u32 value = f32_to_f16(static_cast<float>(mma_row(part) * 8 + k));
      u32& word = rows[part].w[i / 2];
      word = i % 2 ? (word & 0xffffu) | value << 16 : value;
    }
  for (int i = 0; i < 8; ++i) {
    const int k = mma_chunk() * 8 + i, c = mma_column();
    const u32 value = f32_to_f16(k == c ? 1.f : k == 31 - c ? 2.f : 0.f);
    token.w[i / 2] |= i % 2 ? value << 16 : value;
  }
  float d[4] = {};
  multiply<true>(d, rows, token);
  for (int i = 0; i < 4; ++i) a.scores[result_row(i) * 16 + result_column(i)] = d[i];
}

template <bool kBarrier>
void reverse(const Args a) {
  int* lds = reinterpret_cast<int*>(dynamic_lds());
  lds[thread_index()] = thread_index();
  if (kBarrier) block_sync();
  a.topk_ids[thread_index()] = lds[127 - thread_index()];
}

template <bool kWait>
void copied(const Args a) {
  int* lds = reinterpret_cast<int*>(dynamic_lds()) + 4 * thread_index();
  async_copy16(lds, a.sorted_pairs + 4 * thread_index(), 0);
  async_commit();
  if (kWait) async_wait<0>();
  for (int i = 0; i < 4; ++i) a.topk_ids[4 * thread_index() + i] = lds[i];
}

inline void overflow(const Args) {  // one behind the last
  if (thread_index() == 0) dynamic_lds()[2048] = 1;
}

inline void copies_too_far(const Args a) {
  async_copy16(dynamic_lds() + 1536 + 16 * thread_index(), a.sorted_pairs, 0);
}

inline void unwritten(const Args a) {
  const int* lds = reinterpret_cast<const int*>(dynamic_lds());
  if (thread_index() == 9) a.topk_ids[0] = lds[21];
}

// Lane i writes what lane i + 1 reads, of its wave or of the next one.
template <bool kBlock>
void neighbour(const Args a) {
  int* lds = reinterpret_cast<int*>(dynamic_lds());
  lds[thread_index()] = 1;
  kBlock ? block_sync() : wave_sync();
  if (thread_index() > 0) a.topk_ids[thread_index()] = lds[thread_index() - 1];
}

// What is read is overwritten before the barrier.
inline void overwritten(const Args a) {
  int* lds = reinterpret_cast<int*>(dynamic_lds());
  lds[thread_index()] = 1;
  block_sync();
  a.topk_ids[thread_index()] = lds[thread_index() / 2];
  lds[thread_index()] = 2;
}

inline void bytes_apart(const Args) {  // no race: each its own
  dynamic_lds()[thread_index()] = 1;
}

inline void off_by_one(const Args a) {
  a.topk_ids[4 * thread_index() + 4] = 1;
}
inline void off_by_one_load(const Args a) {
  a.topk_ids[thread_index()] = a.sorted_pairs[thread_index() - 1];
}
inline void stores_into_input(const Args a) {
  a.sorted_pairs[thread_index()] = 1;
}

inline void divergent(const Args) {
  if (thread_index() != 5) block_sync();
}

inline void two_barriers(const Args) {
  if (thread_index() == 5)
    block_sync();
  else
    block_sync();
}

inline void two_places(const Args a) {
  if (lane_index() == 3)
    a.topk_ids[0] = shfl(1, 0);
  else
    a.topk_ids[1] = shfl(2, 0);
}

inline void missing_lanes(const Args a) {
  if (lane_index() >= 3) a.topk_ids[0] = shfl(1, 0);
}

}  // namespace fse::gpu
