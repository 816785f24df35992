#pragma once
// What the emulator gives device code in the place of a GPU, declared; kernels/emulator implements
// it. Read by the host's compiler, without any system header, for the instances of one plan at a
// time.
#include "kernels/device/machine.h"

#define __global__
#define __launch_bounds__(...)

namespace fse::gpu::host {

inline thread_local Machine* machine = nullptr;

// Const: to the code of one thread they never change, as its stack is its own.
#define FSE_CONSTANT __attribute__((const, noinline, no_sanitize("thread"))) inline
FSE_CONSTANT Machine* here() {
  return machine;
}
FSE_CONSTANT int thread_index() {
  return machine->thread;
}
FSE_CONSTANT char* dynamic_lds() {
  return machine->lds;
}

}  // namespace fse::gpu::host

namespace fse::gpu {

inline constexpr int kWave = FSE_HOST_WAVE;

inline unsigned __float_as_uint(float v) {
  return __builtin_bit_cast(unsigned, v);
}
inline int __float_as_int(float v) {
  return __builtin_bit_cast(int, v);
}
inline float __uint_as_float(unsigned v) {
  return __builtin_bit_cast(float, v);
}
inline float __int_as_float(int v) {
  return __builtin_bit_cast(float, v);
}
inline float fabsf(float v) {
  return __builtin_fabsf(v);
}
inline float fmaxf(float a, float b) {
  return __builtin_fmaxf(a, b);
}
inline float fminf(float a, float b) {
  return __builtin_fminf(a, b);
}
inline float copysignf(float v, float sign) {
  return __builtin_copysignf(v, sign);
}
inline float expf(float v) {
  return __builtin_expf(v);
}
inline float __expf(float v) {
  return __builtin_expf(v);
}
inline unsigned atomicOr(unsigned* p, unsigned v) {
  return __atomic_fetch_or(p, v, __ATOMIC_RELAXED);
}
inline unsigned atomicAdd(unsigned* p, unsigned v) {
  return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
}
inline float __fadd_rn(float a, float b) {  // compiled without contraction or reordering
  return a + b;
}

}  // namespace fse::gpu
