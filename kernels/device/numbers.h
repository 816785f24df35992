#pragma once
// Conversions, functions and sums of a wave that are the same on every device.
#include "kernels/device/gpu.h"

namespace fse::gpu {

// Activations of a layer: f16 where its weights are, else bf16.
template <int kFormat>
FSE_D float from_activation(u16 bits) {
  return kFormat == kF16 ? f16_to_f32(bits) : bf16_to_f32(bits);
}
template <int kFormat>
FSE_D u16 to_activation(float v) {
  return kFormat == kF16 ? f32_to_f16(v) : f32_to_bf16(v);
}
// e4m3 as the device has it. OCP's e4m3fn: bias 7, no infinity, 0x7f and 0xff are NaN, up to 448.
// gfx942's e4m3fnuz: bias 8, 0x80 is NaN and there is no other, up to 240.
inline constexpr float kE4m3Largest = kFnuz ? 240.f : 448.f;
// Exponent and mantissa moved into an f32 are 2^this too small, subnormals included.
inline constexpr u32 kE4m3Shift = kFnuz ? 119 : 120;

FSE_D float e4m3_to_f32(u8 code) {
  const u32 magnitude = code & 0x7f;
  const u32 sign = static_cast<u32>(code & 0x80) << 24;
  const float v = __uint_as_float(magnitude << 20) * __uint_as_float((kE4m3Shift + 127u) << 23);
  const bool nan = kFnuz ? code == 0x80 : magnitude == 0x7f;
  return __uint_as_float((nan ? 0x7fc00000u : __float_as_uint(v)) | sign);
}
// The e4m3 value nearest to v, ties to even, saturating; NaN stays NaN. Normal values keep 3
// mantissa bits; below them the step is 2^-9 (e4m3fnuz: 2^-10), and adding and taking away the
// float whose last bit has that weight rounds to it.
FSE_D float round_to_e4m3(float v) {
  constexpr float kSmallestNormal = kFnuz ? 0x1p-7f : 0x1p-6f;
  constexpr float kRounder = kFnuz ? 0x1p13f : 0x1p14f;
  const float a = fminf(fabsf(v), kE4m3Largest);
  u32 b = __float_as_uint(a);
  b = (b + 0x7ffffu + (b >> 20 & 1)) & 0xfff00000u;
  const float r =
      a < kSmallestNormal ? __fadd_rn(__fadd_rn(a, kRounder), -kRounder) : __uint_as_float(b);
  return v != v ? v : copysignf(r, v);
}
// The code of what round_to_e4m3 gives: its exponent and mantissa, moved.
FSE_D u32 e4m3_code(float v) {
  const float r = round_to_e4m3(v);
  if (r != r) return kFnuz ? 0x80 : 0x7f;
  const u32 magnitude =
      __float_as_uint(fabsf(r) * __uint_as_float((127u - kE4m3Shift) << 23)) >> 20;
  const u32 sign = __float_as_uint(r) >> 24 & 0x80u;
  return kFnuz && magnitude == 0 ? 0 : magnitude | sign;
}

FSE_D float exp_accurate(float v) {
  return expf(v);
}
FSE_D float exp_fast(float v) {
  return __expf(v);
}
// Of logits: 0 from -87 down, as core/routing.h says, not where the exponential happens to
// overflow.
FSE_D float sigmoid(float v) {
  return v <= -87.f ? 0.f : 1.f / (1.f + exp_accurate(-v));
}
FSE_D float silu(float v) {
  return v / (1.f + exp_fast(-v));
}

// ---- sums of a wave: every lane takes part

FSE_D u32 wave_min(u32 v FSE_CALLED_AT) {
  return ~wave_max(~v FSE_PASS_ON);
}

FSE_D float wave_sum(float v FSE_CALLED_AT) {
#pragma unroll
  for (int m = kWave / 2; m > 0; m /= 2) v += shfl_xor(v, m FSE_PASS_ON);
  return v;
}
FSE_D float wave_max(float v FSE_CALLED_AT) {
#pragma unroll
  for (int m = kWave / 2; m > 0; m /= 2) v = fmaxf(v, shfl_xor(v, m FSE_PASS_ON));
  return v;
}
FSE_D int wave_inclusive_sum(int v FSE_CALLED_AT) {
#pragma unroll
  for (int m = 1; m < kWave; m *= 2) {
    const int below = shfl(v, lane_index() - m < 0 ? 0 : lane_index() - m FSE_PASS_ON);
    if (lane_index() >= m) v += below;
  }
  return v;
}

// ---- short forms

FSE_D u64 lanes_below() {
  return (1ull << lane_index()) - 1;
}
FSE_D Vec16 zero16() {
  return Vec16{{0, 0, 0, 0}};
}
template <bool kDependent>
FSE_D void begin_dependent() {
  if constexpr (kDependent) {
    dependency_wait();
    dependency_launch();
  }
}

}  // namespace fse::gpu
