#pragma once
// What `fselab calibrate` times: see kernels/microbench.h.
#include "kernels/device/mma_tile.h"

namespace fse::gpu {

// Every block reads a part of the vectors, 8 loads of 16 bytes in flight per thread: with 512
// threads 64 KB per block, enough for the memory's full rate. In every round it is the part of
// another block, which lies in the last-level cache if anywhere, not in the compute unit's own.
__global__ void __launch_bounds__(512)
    read_all(const Vec16* data, i64 vectors, int rounds, u32* sink) {
  constexpr int kLoads = 8;
  const i64 part = vectors / block_count();
  u32 sum = 0;
  for (int round = 0; round < rounds; ++round) {
    const Vec16* from = data + part * ((block_index() + round) % block_count());
    for (i64 i = thread_index(); i < part; i += i64{kLoads} * block_threads()) {
      Vec16 v[kLoads];
#pragma unroll
      for (int j = 0; j < kLoads; ++j) {
        const i64 at = i + i64{j} * block_threads();
        v[j] = at < part ? load16(from + at) : zero16();
      }
#pragma unroll
      for (int j = 0; j < kLoads; ++j) sum ^= v[j].w[0] ^ v[j].w[1] ^ v[j].w[2] ^ v[j].w[3];
    }
  }
  if (sum == 0x9e3779b9u) sink[0] = sum;  // never: the data are zeros
}

template <int kUnused>
__global__ void __launch_bounds__(256) nothing(float*) {}

// 16 bytes per thread, loaded and stored: what the next link waits for.
template <int kDependent>
__global__ void __launch_bounds__(256) touch(Vec16* data) {
  begin_dependent<kDependent == 1>();
  Vec16* mine = data + i64{block_index()} * block_threads() + thread_index();
  Vec16 v = load16(mine);
  v.w[0] += 1;
  store16(mine, v);
}

// The counter is 0 before. The same work as grid_arrive() and grid_wait().
__global__ void __launch_bounds__(256) barrier_chain(unsigned* counter, int links) {
  for (int link = 1; link <= links; ++link) {
    block_sync();
    if (thread_index() == 0) {
      add_release(counter);
      while (load_acquire(counter) < static_cast<unsigned>(link * block_count())) {
      }
    }
    block_sync();
  }
}

// Each lane widens 16 codes a round, which it takes from what the last round gave.
template <int kRounds>
__global__ void __launch_bounds__(256) widen_rate(const Vec16* operands, u32* sink) {
  Vec16 codes = operands[0];
  for (int i = 0; i < 4; ++i) codes.w[i] += thread_index();
  u32 total = 0;
#pragma unroll 8
  for (int round = 0; round < kRounds; ++round) {
    Vec16 first, second;
    unpack_e4m3(codes, first, second);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      codes.w[i] += 0x01010101u;
      total += first.w[i] + second.w[i];  // xor would fold through the masks
    }
  }
  if (total == 0x9e3779b9u) sink[0] = total;
}

}  // namespace fse::gpu
