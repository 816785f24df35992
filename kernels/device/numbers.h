#pragma once
// Conversions and functions that are the same on every device.
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
// OCP e4m3fn: bias 7, no infinity, 0x7f and 0xff are NaN. Exponent and mantissa moved into an f32
// are 2^120 too small, subnormals included.
FSE_D float e4m3_to_f32(u8 code) {
  const u32 magnitude = code & 0x7f;
  const u32 sign = static_cast<u32>(code & 0x80) << 24;
  const float v = __uint_as_float(magnitude << 20) * __uint_as_float((120u + 127u) << 23);
  return __uint_as_float((magnitude == 0x7f ? 0x7fc00000u : __float_as_uint(v)) | sign);
}
// The e4m3 value nearest to v, ties to even, saturating at +-448; NaN stays NaN. Normal values keep
// 3 mantissa bits, below 2^-6 the step is 2^-9: adding and taking away 2^14 rounds to it.
FSE_D float round_to_e4m3(float v) {
  const float a = fminf(fabsf(v), 448.f);
  u32 b = __float_as_uint(a);
  b = (b + 0x7ffffu + (b >> 20 & 1)) & 0xfff00000u;
  const float r = a < 0x1p-6f ? __fadd_rn(__fadd_rn(a, 0x1p14f), -0x1p14f) : __uint_as_float(b);
  return v != v ? v : copysignf(r, v);
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

}  // namespace fse::gpu
