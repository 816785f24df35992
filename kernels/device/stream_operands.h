#pragma once
// Operands of the matrix unit for one slice: weight rows from LDS, activations of the tokens from
// global memory (L1 and L2 hold them), in the form they are multiplied in.
#include "kernels/device/mma_tile.h"

namespace fse::gpu {

// Rows of half a slice (64 bytes of each row) as the matrix unit wants them.
template <int kRows>
FSE_D void load_rows(Vec16 (&rows)[kRowParts], const char* slot, int half) {
#pragma unroll
  for (int part = 0; part < kRowParts; ++part) {
    const int row = mma_row(part);
    rows[part] =
        kRows == 16 || row < kRows ? load16(slot + swizzle(row, half * 4 + mma_chunk())) : zero16();
  }
}

// This lane's activations of one slice of one token: 2 vectors beside 16-bit weights, 4 beside fp8.
template <bool kFp8Weights>
struct Tokens {
  static constexpr int kVectors = kFp8Weights ? 4 : 2;
  Vec16 v[kVectors];
  float scale;  // of this lane's column, activations=fp8
};

template <bool kFp8Weights>
FSE_D void load_tokens(Tokens<kFp8Weights>& to, const u16* row, int slice, int columns) {
#pragma unroll
  for (int i = 0; i < Tokens<kFp8Weights>::kVectors; ++i) {
    const int k = kFp8Weights ? slice * 128 + (i >> 1) * 64 + mma_chunk() * 16 + (i & 1) * 8
                              : slice * 64 + i * 32 + mma_chunk() * 8;
    to.v[i] = row && k < columns ? load16(row + k) : zero16();
  }
}

FSE_D float largest_of(const Vec16& v, float m) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    m = fmaxf(m, fabsf(bf16_to_f32(static_cast<u16>(v.w[i]))));
    m = fmaxf(m, fabsf(bf16_to_f32(static_cast<u16>(v.w[i] >> 16))));
  }
  return m;
}

// activations=fp8: one scale per token and 128 columns, which is one slice; the values stay bf16.
FSE_D void quantise(Tokens<true>& t) {
  float m = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) m = largest_of(t.v[i], m);
  constexpr int kStep = kWave == 32 ? 1 : 16;  // lanes of one column
  m = fmaxf(m, shfl_xor(m, kStep));
  m = fmaxf(m, shfl_xor(m, 2 * kStep));
  t.scale = m > 0 ? m * (1.f / 448.f) : 1.f;
  const float inverse = 1.f / t.scale;
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const u32 two = t.v[i].w[j];
      const float low = round_to_e4m3(bf16_to_f32(static_cast<u16>(two)) * inverse);
      const float high = round_to_e4m3(bf16_to_f32(static_cast<u16>(two >> 16)) * inverse);
      t.v[i].w[j] = __float_as_uint(low) >> 16 | (__float_as_uint(high) & 0xffff0000u);
    }
}

// Brings tokens into the form the weights are multiplied in.
template <Shape S, int kOp>
FSE_D void prepare(Tokens<true>& t) {
  if constexpr (S.format == kFp8Activations) quantise(t);
#pragma unroll
  for (int i = 0; i < 4; ++i) t.v[i] = scale_tokens(t.v[i]);
}
template <Shape S, int kOp>
FSE_D void prepare(Tokens<false>& t) {
  if constexpr (kOp == kGate && S.format == kF16)  // the router is bf16 in f16 layers too
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      u32& two = t.v[i >> 2].w[i & 3];
      const u32 high = f32_to_bf16(f16_to_f32(static_cast<u16>(two >> 16)));
      two = f32_to_bf16(f16_to_f32(static_cast<u16>(two))) | high << 16;
    }
}

// One slice: d += rows x tokens, fp8 without its block scale.
template <bool kHalf>
FSE_D void multiply_slice(float (&d)[4], const Vec16 (&rows)[2][kRowParts],
                          const Tokens<false>& t) {
  multiply<kHalf>(d, rows[0], t.v[0]);
  multiply<kHalf>(d, rows[1], t.v[1]);
}
template <bool kHalf>
FSE_D void multiply_slice(float (&d)[4], const Vec16 (&rows)[2][kRowParts], const Tokens<true>& t) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    Vec16 first[kRowParts], second[kRowParts];
#pragma unroll
    for (int part = 0; part < kRowParts; ++part)
      unpack_e4m3(rows[half][part], first[part], second[part]);
    multiply<false>(d, first, t.v[2 * half]);
    multiply<false>(d, second, t.v[2 * half + 1]);
  }
}

}  // namespace fse::gpu
