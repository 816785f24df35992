#pragma once
// What the two vendors spell differently, one function each. With mma_tile.h the only device header
// that asks which compiler reads it. At run time (NVRTC, hipRTC) nothing is included: all is built
// in; ahead of time hipcc wants its runtime header.
// The third target is the emulator: the host's compiler, told so by FSE_HOST_WAVE, the lanes of the
// wave it emulates, and FSE_HOST_GFX. FSE_GFX is AMD's architecture as a number, 0 on others.
#if defined(FSE_HOST_WAVE)
#define FSE_HOST 1
#define FSE_NVIDIA 0
#define FSE_GFX FSE_HOST_GFX
#define FSE_HD
#define FSE_D inline
// A wave operation as an error names it: the line of the kernel that called for it.
#define FSE_CALLED_AT , const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define FSE_CALLED const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define FSE_PASS_ON , file, line
#include "kernels/device/host.h"
#else
#define FSE_HOST 0
#if defined(__CUDACC__)
#define FSE_NVIDIA 1
#else
#define FSE_NVIDIA 0
#if !defined(__HIPCC_RTC__)
#include <hip/hip_runtime.h>
#endif
#endif
#if defined(__gfx90a__)
#define FSE_GFX 0x90a
#elif defined(__gfx942__)
#define FSE_GFX 0x942
#elif defined(__gfx950__)
#define FSE_GFX 0x950
#else
#define FSE_GFX 0
#endif
#define FSE_HD __host__ __device__
#define FSE_D __device__ __forceinline__
#define FSE_CALLED_AT
#define FSE_CALLED
#define FSE_PASS_ON
#endif

#include "kernels/device/tiles.h"

namespace fse::gpu {

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;
using i64 = long long;

struct alignas(16) Vec16 {
  u32 w[4];
};

#if FSE_NVIDIA
inline constexpr int kWave = 32;
#elif !FSE_HOST
inline constexpr int kWave = __AMDGCN_WAVEFRONT_SIZE;
#endif

#if FSE_HOST
FSE_D int thread_index() {
  return host::thread_index();
}
FSE_D int block_index() {
  return host::here()->block;
}
FSE_D int block_count() {
  return host::here()->blocks;
}
FSE_D int block_threads() {
  return host::here()->threads;
}
#else
FSE_D int thread_index() {
  return static_cast<int>(threadIdx.x);
}
FSE_D int block_index() {
  return static_cast<int>(blockIdx.x);
}
FSE_D int block_count() {
  return static_cast<int>(gridDim.x);
}
FSE_D int block_threads() {
  return static_cast<int>(blockDim.x);
}
#endif
FSE_D int lane_index() {
  return thread_index() & (kWave - 1);
}
// The same in every lane, and known to be so: what depends on it may stay in scalar registers.
// Every lane asks: on NVIDIA it is a shuffle.
FSE_D int wave_index(FSE_CALLED) {
#if FSE_HOST
  host::here()->wave_index(host::here(), {"wave_index", file, line});
  return thread_index() / kWave;
#elif FSE_NVIDIA
  return __shfl_sync(~0u, thread_index() / kWave, 0);
#else
  return __builtin_amdgcn_readfirstlane(thread_index() / kWave);
#endif
}

FSE_D char* dynamic_lds() {
#if FSE_HOST
  return host::dynamic_lds();
#else
  extern __shared__ Vec16 fse_lds[];
  return reinterpret_cast<char*>(fse_lds);
#endif
}

// ---- waves: every lane takes part

FSE_D int shfl(int v, int lane FSE_CALLED_AT) {
#if FSE_HOST
  return host::here()->shuffle(host::here(), v, lane, {"shfl", file, line});
#elif FSE_NVIDIA
  return __shfl_sync(~0u, v, lane);
#else
  return __builtin_amdgcn_ds_bpermute(lane << 2, v);
#endif
}
FSE_D u32 shfl(u32 v, int lane FSE_CALLED_AT) {
  return static_cast<u32>(shfl(static_cast<int>(v), lane FSE_PASS_ON));
}
FSE_D float shfl(float v, int lane FSE_CALLED_AT) {
  return __int_as_float(shfl(__float_as_int(v), lane FSE_PASS_ON));
}
template <class V>
FSE_D V shfl_xor(V v, int mask FSE_CALLED_AT) {
  return shfl(v, lane_index() ^ mask FSE_PASS_ON);
}
FSE_D u64 ballot(bool v FSE_CALLED_AT) {
#if FSE_HOST
  return host::here()->vote(host::here(), v, {"ballot", file, line});
#elif FSE_NVIDIA
  return __ballot_sync(~0u, v);
#else
  return __ballot(v);
#endif
}
FSE_D int popcount(u64 v) {
#if FSE_HOST
  return __builtin_popcountll(v);
#else
  return __popcll(v);
#endif
}
FSE_D int first_bit(u64 v) {  // v != 0
#if FSE_HOST
  return __builtin_ctzll(v);
#else
  return __ffsll(v) - 1;
#endif
}
FSE_D u32 wave_max(u32 v FSE_CALLED_AT) {
#if FSE_NVIDIA
  return __reduce_max_sync(~0u, v);
#else
#pragma unroll
  for (int m = kWave / 2; m > 0; m /= 2) {
    const u32 other = shfl_xor(v, m FSE_PASS_ON);
    v = v < other ? other : v;
  }
  return v;
#endif
}
FSE_D int wave_sum(int v FSE_CALLED_AT) {
#if FSE_NVIDIA
  return __reduce_add_sync(~0u, v);
#else
#pragma unroll
  for (int m = kWave / 2; m > 0; m /= 2) v += shfl_xor(v, m FSE_PASS_ON);
  return v;
#endif
}
// The lanes that hold the same value as this one.
FSE_D u64 wave_match(int v FSE_CALLED_AT) {
#if FSE_NVIDIA
  return __match_any_sync(~0u, v);
#else
  u64 left = ~0ull >> (64 - kWave), mine = 0;
  while (left) {
    const u64 peers = ballot(v == shfl(v, first_bit(left) FSE_PASS_ON) FSE_PASS_ON);
    if (peers >> lane_index() & 1) mine = peers;
    left &= ~peers;
  }
  return mine;
#endif
}

// ---- barriers

FSE_D void block_sync(FSE_CALLED) {
#if FSE_HOST
  host::here()->block_sync(host::here(), {"block_sync", file, line});
#else
  __syncthreads();
#endif
}
// Lanes of one wave see each other's LDS writes.
FSE_D void wave_sync(FSE_CALLED) {
#if FSE_HOST
  host::here()->wave_sync(host::here(), {"wave_sync", file, line});
#elif FSE_NVIDIA
  __syncwarp();
#else
  __builtin_amdgcn_fence(__ATOMIC_ACQ_REL, "wavefront");
  __builtin_amdgcn_wave_barrier();
#endif
}

// A counter of all blocks: what was written before the addition is seen behind a load of its sum.
FSE_D void add_release(unsigned* p) {
#if FSE_HOST
  __atomic_fetch_add(p, 1u, __ATOMIC_RELEASE);
  host::here()->progress(host::here());
#elif FSE_NVIDIA
  asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(p) : "memory");
#else
  __hip_atomic_fetch_add(p, 1u, __ATOMIC_RELEASE, __HIP_MEMORY_SCOPE_AGENT);
#endif
}
FSE_D unsigned load_acquire(const unsigned* p) {
#if FSE_HOST
  host::here()->yield(host::here());
  return __atomic_load_n(p, __ATOMIC_ACQUIRE);
#elif FSE_NVIDIA
  unsigned v;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
  return v;
#else
  return __hip_atomic_load(p, __ATOMIC_ACQUIRE, __HIP_MEMORY_SCOPE_AGENT);
#endif
}

// 8 bytes that other blocks may read at any time: all of them or none. Says nothing about others.
FSE_D void store_whole(u64* p, u64 v) {
#if FSE_HOST
  __atomic_store_n(p, v, __ATOMIC_RELAXED);
  host::here()->progress(host::here());
#elif FSE_NVIDIA
  asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(p), "l"(v) : "memory");
#else
  __hip_atomic_store(p, v, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);
#endif
}
FSE_D u64 load_whole(const u64* p) {
#if FSE_HOST
  host::here()->yield(host::here());
  return __atomic_load_n(p, __ATOMIC_RELAXED);
#elif FSE_NVIDIA
  u64 v;
  asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(v) : "l"(p) : "memory");
  return v;
#else
  return __hip_atomic_load(p, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);
#endif
}

// ---- a kernel that was launched while its predecessor ends

// Waits until the predecessor has ended and its stores are seen; nothing where there is no such
// launch. What the predecessor's predecessor wrote is seen from the start on.
FSE_D void dependency_wait() {
#if FSE_NVIDIA
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// The successor may start now. Only after dependency_wait(), or that promise breaks.
FSE_D void dependency_launch() {
#if FSE_NVIDIA
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// ---- memory

FSE_D Vec16 load16(const void* p) {
  return *static_cast<const Vec16*>(p);
}
FSE_D void store16(void* p, const Vec16& v) {
  *static_cast<Vec16*>(p) = v;
}
// From global memory. Where a pointer went through a loop or a choice, AMD's compilers no longer
// know that it is none into LDS, and a load that may be either waits for both.
FSE_D Vec16 load_global16(const void* p) {
#if FSE_GFX && !FSE_HOST
  using Words = u32 __attribute__((ext_vector_type(4)));
  return __builtin_bit_cast(Vec16, *(const __attribute__((address_space(1))) Words*)p);
#else
  return load16(p);
#endif
}
FSE_D u32 load_global4(const void* p) {
#if FSE_GFX && !FSE_HOST
  return *(const __attribute__((address_space(1))) u32*)p;
#else
  return *static_cast<const u32*>(p);
#endif
}

// 16 bytes from global memory to LDS, not seen before async_wait() and wave_sync(). The bytes are
// read once: they leave the cache first. A device without such a copy loads and stores.
FSE_D u64 evict_first_policy() {
#if FSE_NVIDIA
  u64 policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
#else
  return 0;
#endif
}
FSE_D void async_copy16(void* lds, const void* global, [[maybe_unused]] u64 policy FSE_CALLED_AT) {
#if FSE_HOST
  host::here()->copy(host::here(), lds, global, 16, {"async_copy16", file, line});
#elif FSE_NVIDIA
  u32 to = static_cast<u32>(__cvta_generic_to_shared(lds));
  // No operation (the table selects %0), but ptxas 13.0 does not look through it. It would move the
  // uniform part of the address into the instruction, where beside a cache policy it is illegal.
  asm("lop3.b32 %0, %0, %1, 0, 0xf0;" : "+r"(to) : "r"(lane_index()));
  asm volatile("cp.async.cg.shared.global.L2::cache_hint.L2::128B [%0], [%1], 16, %2;" ::"r"(to),
               "l"(global), "l"(policy)
               : "memory");
#else
  store16(lds, load_global16(global));
#endif
}
// The same of what others read, too.
FSE_D void async_copy16_kept(void* lds, const void* global FSE_CALLED_AT) {
#if FSE_NVIDIA
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(
                   static_cast<u32>(__cvta_generic_to_shared(lds))),
               "l"(global)
               : "memory");
#else
  async_copy16(lds, global, u64{0} FSE_PASS_ON);
#endif
}
// 4 bytes, in the same way.
FSE_D void async_copy4(void* lds, const void* global FSE_CALLED_AT) {
#if FSE_HOST
  host::here()->copy(host::here(), lds, global, 4, {"async_copy4", file, line});
#elif FSE_NVIDIA
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(
                   static_cast<u32>(__cvta_generic_to_shared(lds))),
               "l"(global)
               : "memory");
#else
  *static_cast<u32*>(lds) = load_global4(global);
#endif
}
// The cache line of `p` is on its way to the last-level cache, where the device can be told so.
FSE_D void prefetch_line([[maybe_unused]] const void* p) {
#if FSE_NVIDIA
  asm volatile("prefetch.global.L2 [%0];" ::"l"(p) : "memory");
#endif
}
FSE_D void async_commit() {
#if FSE_HOST
  host::here()->commit(host::here());
#elif FSE_NVIDIA
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// All but the newest `kPending` groups have arrived.
template <int kPending>
FSE_D void async_wait() {
#if FSE_HOST
  host::here()->wait(host::here(), kPending);
#elif FSE_NVIDIA
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
}

// ---- numbers: raw bits, converted here, so that every device rounds alike

inline constexpr bool kFnuz = FSE_GFX == 0x942;  // its e4m3 is the one of numbers.h with bias 8

FSE_D float bf16_to_f32(u16 bits) {
  return __uint_as_float(static_cast<u32>(bits) << 16);
}
FSE_D u16 f32_to_bf16(float v) {  // round to nearest even; NaN stays NaN
#if FSE_NVIDIA
  u16 bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(v));
  return bits;
#else
  const u32 b = __float_as_uint(v);
  if ((b & 0x7fffffffu) > 0x7f800000u) return static_cast<u16>(b >> 16 | 0x40);
  return static_cast<u16>((b + 0x7fff + (b >> 16 & 1)) >> 16);
#endif
}
FSE_D float f16_to_f32(u16 bits) {
#if FSE_NVIDIA
  float v;
  asm("cvt.f32.f16 %0, %1;" : "=f"(v) : "h"(bits));
  return v;
#else
  return static_cast<float>(__builtin_bit_cast(_Float16, bits));
#endif
}
FSE_D u16 f32_to_f16(float v) {
#if FSE_NVIDIA
  u16 bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(v));
  return bits;
#else
  return __builtin_bit_cast(u16, static_cast<_Float16>(v));
#endif
}

// Two at once: the first in the low half.
FSE_D u32 f32_to_f16x2(float low, float high) {
#if FSE_NVIDIA
  u32 two;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(two) : "f"(high), "f"(low));
  return two;
#else
  return f32_to_f16(low) | static_cast<u32>(f32_to_f16(high)) << 16;
#endif
}
FSE_D u32 multiply_bf16x2(u32 a, u32 b) {
#if FSE_NVIDIA
  u32 two;
  asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(two) : "r"(a), "r"(b));
  return two;
#else
  const float low = bf16_to_f32(static_cast<u16>(a)) * bf16_to_f32(static_cast<u16>(b));
  const float high =
      bf16_to_f32(static_cast<u16>(a >> 16)) * bf16_to_f32(static_cast<u16>(b >> 16));
  return f32_to_bf16(low) | static_cast<u32>(f32_to_bf16(high)) << 16;
#endif
}
FSE_D u32 max_u16x2(u32 a, u32 b) {
#if FSE_NVIDIA
  return __vmaxu2(a, b);
#else
  const u32 low = (a & 0xffffu) < (b & 0xffffu) ? b & 0xffffu : a & 0xffffu;
  const u32 high = (a >> 16) < (b >> 16) ? b >> 16 : a >> 16;
  return low | high << 16;
#endif
}

}  // namespace fse::gpu
