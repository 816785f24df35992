#pragma once
// What the emulator gives device code in the place of a GPU, declared; kernels/emulator implements
// it. Read by the host's compiler, without any system header, for the instances of one plan at a
// time.
#include "kernels/device/machine.h"

#define __global__
#define __launch_bounds__(...)

namespace fse::gpu::host {

inline thread_local Machine* machine = nullptr;

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
inline unsigned atomicAdd(unsigned* p, unsigned v) {
  return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
}
inline float __fadd_rn(float a, float b) {  // compiled without contraction or reordering
  return a + b;
}

namespace host {

template <class Operands>
void together(Operands& mine, void (*work)(void* const*), const Where& where) {
  machine->together(machine, &mine, work, where);
}

struct Shuffle {
  int value, lane;
};
inline int shuffle(int value, int lane, const Where& where) {
  Shuffle mine{value, lane & (kWave - 1)};
  together(
      mine,
      [](void* const* lanes) {
        int values[kWave];
        for (int i = 0; i < kWave; ++i) values[i] = static_cast<Shuffle*>(lanes[i])->value;
        for (int i = 0; i < kWave; ++i) {
          auto* to = static_cast<Shuffle*>(lanes[i]);
          to->value = values[to->lane];
        }
      },
      where);
  return mine.value;
}

inline unsigned long long vote(bool value, const Where& where) {
  unsigned long long mine = value;
  together(
      mine,
      [](void* const* lanes) {
        unsigned long long all = 0;
        for (int i = 0; i < kWave; ++i) all |= *static_cast<unsigned long long*>(lanes[i]) << i;
        for (int i = 0; i < kWave; ++i) *static_cast<unsigned long long*>(lanes[i]) = all;
      },
      where);
  return mine;
}

inline void meet(const Where& where) {
  int nothing = 0;
  together(
      nothing, [](void* const*) {}, where);
}

inline float half_bits(unsigned bits) {
  return static_cast<float>(__builtin_bit_cast(_Float16, static_cast<unsigned short>(bits)));
}

// One matrix instruction: 16-bit operands as each lane's registers hold them, two to a word.
struct Matrix {
  unsigned a[4], b[2];
  float d[4];
};
// CDNA's matrix units read subnormal bf16 as 0; mma.sync keeps them.
template <bool kHalf>
float operand(unsigned word, int half) {
  const unsigned bits = half ? word >> 16 : word & 0xffffu;
  if (kHalf) return half_bits(bits);
  if (kWave == 64 && (bits & 0x7f80u) == 0) return 0;
  return __uint_as_float(bits << 16);
}

// mma.sync m16n8k16, from the PTX ISA: with g = lane / 4 and t = lane % 4, word r of A is row
// g + 8 * (r % 2), columns 2t + 8 * (r / 2) and the next; word r of B is rows 2t + 8r and the next
// of column g; d[i] is row g + 8 * (i / 2), column 2t + i % 2.
template <bool kHalf>
void mma_m16n8k16(void* const* lanes) {
  float a[16][16], b[16][8];
  const auto at = [&](int lane) { return static_cast<Matrix*>(lanes[lane]); };
  for (int lane = 0; lane < 32; ++lane)
    for (int half = 0; half < 2; ++half) {
      const int g = lane / 4, k = 2 * (lane % 4) + half;
      for (int r = 0; r < 4; ++r)
        a[g + 8 * (r % 2)][k + 8 * (r / 2)] = operand<kHalf>(at(lane)->a[r], half);
      for (int r = 0; r < 2; ++r) b[k + 8 * r][g] = operand<kHalf>(at(lane)->b[r], half);
    }
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
      for (int k = 0; k < 16; ++k) at(lane)->d[i] += a[row][k] * b[k][column];
    }
}

// v_mfma_f32_16x16x16, from AMD's matrix instruction calculator: lane l has row l % 16 of A and
// column l % 16 of B, both k = 4 * (l / 16) + 0..3; d[i] is row 4 * (l / 16) + i, column l % 16.
template <bool kHalf>
void mfma_16x16x16(void* const* lanes) {
  float a[16][16], b[16][16];
  const auto at = [&](int lane) { return static_cast<Matrix*>(lanes[lane]); };
  for (int lane = 0; lane < 64; ++lane)
    for (int i = 0; i < 4; ++i) {
      const int k = 4 * (lane / 16) + i;
      a[lane % 16][k] = operand<kHalf>(at(lane)->a[i / 2], i % 2);
      b[k][lane % 16] = operand<kHalf>(at(lane)->b[i / 2], i % 2);
    }
  for (int lane = 0; lane < 64; ++lane)
    for (int i = 0; i < 4; ++i)
      for (int k = 0; k < 16; ++k) at(lane)->d[i] += a[4 * (lane / 16) + i][k] * b[k][lane % 16];
}

template <bool kHalf>
void multiply(Matrix& mine, const Where& where) {
  if constexpr (kWave == 32)
    together(mine, mma_m16n8k16<kHalf>, where);
  else
    together(mine, mfma_16x16x16<kHalf>, where);
}

}  // namespace host

}  // namespace fse::gpu
