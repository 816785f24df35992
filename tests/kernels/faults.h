#pragma once
// Kernels for the emulator's tests; most do wrong on purpose.
#include "kernels/device/mma_tile.h"

namespace fse::gpu {

// One matrix step with values that tell every element apart; results stored where they belong or,
// as another fragment has them, with rows of a lane in the wrong order.
template <bool kRight>
void product(const Args a) {
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
  for (int i = 0; i < 4; ++i)
    a.scores[result_row(kRight ? i : 3 - i) * 16 + result_column(i)] = d[i];
}

// The sum of a wave's lanes; with the last step's mask wrong, lanes are added twice.
template <bool kRight>
void sum_of_lanes(const Args a) {
  int v = 1 << lane_index() % 16;
#pragma unroll
  for (int m = kWave / 2; m > 0; m /= 2) v += shfl_xor(v, !kRight && m == 1 ? 2 : m);
  a.topk_ids[thread_index()] = v;
}

// e4m3 as this device has it: the values of all codes, as two functions give them.
inline void code_values(const Args a) {
  for (int i = thread_index(); i < 256; i += block_threads())
    a.scores[i] = e4m3_to_f32(static_cast<u8>(i));
}
inline void unpacked_codes(const Args a) {
  if (thread_index() >= 16) return;
  Vec16 codes = zero16(), values[2];
  for (int i = 0; i < 16; ++i)
    codes.w[i / 4] |= static_cast<u32>(16 * thread_index() + i) << 8 * (i % 4);
  unpack_e4m3(codes, values[0], values[1]);
  const float grow = kFp8Unscale == 1 ? 1.f : 0x1p120f;
  for (int i = 0; i < 16; ++i)
    a.scores[16 * thread_index() + i] =
        grow * bf16_to_f32(static_cast<u16>(values[i / 8].w[i % 8 / 2] >> 16 * (i % 2)));
}
// What floats become.
inline void codes_of(const Args a) {
  for (int i = thread_index(); i < 512; i += block_threads())
    a.topk_ids[i] = static_cast<int>(e4m3_code(__int_as_float(a.sorted_pairs[i])));
}
inline void rounded_to_codes(const Args a) {
  for (int i = thread_index(); i < 512; i += block_threads())
    a.topk_ids[i] = __float_as_int(round_to_e4m3(__int_as_float(a.sorted_pairs[i])));
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
  async_copy16(lds, a.sorted_pairs + 4 * thread_index(), u64{0});
  async_commit();
  if (kWait) async_wait<0>();
  for (int i = 0; i < 4; ++i) a.topk_ids[4 * thread_index() + i] = lds[i];
}

inline void overflow(const Args) {  // one behind the last
  if (thread_index() == 0) dynamic_lds()[2048] = 1;
}

inline void copies_too_far(const Args a) {
  async_copy16(dynamic_lds() + 1536 + 16 * thread_index(), a.sorted_pairs, u64{0});
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

// Bits of one word from all threads, by atomic operations or not, read behind a barrier or not.
template <bool kAtomic, bool kBarrier>
void bits_of_one_word(const Args a) {
  u32* lds = reinterpret_cast<u32*>(dynamic_lds());
  if (thread_index() == 0) lds[0] = 0;
  block_sync();
  if (kAtomic)
    atomicOr(lds, 1u << thread_index() % 32);
  else
    lds[0] |= 1u << thread_index() % 32;
  if (kBarrier) block_sync();
  a.topk_ids[thread_index()] = static_cast<int>(lds[0]);
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

// A wave operation in a loop that lanes leave at different times.
inline void differing_trips(const Args a) {
  for (int i = 0; i <= lane_index() % 2; ++i) a.topk_ids[thread_index()] = wave_index();
}
inline void differing_ballots(const Args a) {
  for (int i = 0; i <= lane_index() % 2; ++i) a.topk_ids[thread_index()] = popcount(ballot(true));
}

inline void no_such_lane(const Args a) {
  a.topk_ids[thread_index()] = shfl(thread_index(), lane_index() + 1);
}

}  // namespace fse::gpu
