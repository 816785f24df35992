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

// What fp8 weights are brought to, and the activations they meet with them: bf16, f16, or nothing
// at all where the matrix unit takes codes.
enum class Meet { bf16, half, codes };

// This lane's activations of one slice of one token: 2 vectors beside 16-bit weights, 4 beside fp8
// (of which codes fill 2).
template <bool kFp8Weights, Meet kMeet>
struct Tokens {
  static constexpr int kVectors = kFp8Weights ? 4 : 2;
  static constexpr int kResults = kWave == 32 ? 2 : 1;  // columns a lane has results of
  Vec16 v[kVectors];
  float scale;              // of this lane's column
  float results[kResults];  // of the columns of its results
};

template <bool kFp8Weights, Meet kMeet>
FSE_D void load_tokens(Tokens<kFp8Weights, kMeet>& to, const u16* row, int slice, int columns) {
#pragma unroll
  for (int i = 0; i < Tokens<kFp8Weights, kMeet>::kVectors; ++i) {
    const int k = kFp8Weights ? slice * 128 + (i >> 1) * 64 + mma_chunk() * 16 + (i & 1) * 8
                              : slice * 64 + i * 32 + mma_chunk() * 8;
    to.v[i] = row && k < columns ? load_global16(row + k) : zero16();
  }
}

FSE_D float low_bf16(u32 two) {
  return __uint_as_float(two << 16);
}
FSE_D float high_bf16(u32 two) {
  return __uint_as_float(two & 0xffff0000u);
}

// The largest magnitude of a token in this slice, in all lanes that hold it.
FSE_D float largest_in_slice(const Vec16 (&v)[4]) {
  float m = 0;
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    const u32 two = v[i >> 2].w[i & 3];
    m = fmaxf(m, fmaxf(fabsf(low_bf16(two)), fabsf(high_bf16(two))));
  }
  constexpr int kStep = kWave == 32 ? 1 : 16;  // from lane to lane of one column
  m = fmaxf(m, shfl_xor(m, kStep));
  return fmaxf(m, shfl_xor(m, 2 * kStep));
}

// The exponent field of that magnitude; 255 where there is an infinity or a NaN.
FSE_D int largest_exponent(const Vec16 (&v)[4]) {
  u32 most = 0;
#pragma unroll
  for (int i = 0; i < 16; ++i) most = max_u16x2(most, v[i >> 2].w[i & 3] & 0x7fff7fffu);
  constexpr int kStep = kWave == 32 ? 1 : 16;
  most = max_u16x2(most, shfl_xor(most, kStep));
  most = max_u16x2(most, shfl_xor(most, 2 * kStep));
  return static_cast<int>(larger(static_cast<int>(most & 0xffff), static_cast<int>(most >> 16)) >>
                          7);
}

// activations=fp8: one scale per token and 128 columns, which is one slice.
FSE_D float slice_scale(const Vec16 (&v)[4]) {
  const float m = largest_in_slice(v);
  return m > 0 ? m * (1.f / kE4m3Largest) : 1.f;
}
// Codes, those of half a slice in each of the first two vectors.
FSE_D float quantise_to_codes(Vec16 (&v)[4]) {
  const float scale = slice_scale(v), inverse = 1.f / scale;
#pragma unroll
  for (int i = 0; i < 8; ++i) {  // in place: what is read lies at or behind what is written
    const u32 first = v[i >> 1].w[2 * (i & 1)], second = v[i >> 1].w[2 * (i & 1) + 1];
    v[i >> 2].w[i & 3] = e4m3_codes(low_bf16(first) * inverse, high_bf16(first) * inverse,
                                    low_bf16(second) * inverse, high_bf16(second) * inverse);
  }
  return scale;
}
// The values stay bf16.
FSE_D float quantise(Vec16 (&v)[4]) {
  const float scale = slice_scale(v), inverse = 1.f / scale;
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    u32& two = v[i >> 2].w[i & 3];
    const float low = round_to_e4m3(low_bf16(two) * inverse);
    const float high = round_to_e4m3(high_bf16(two) * inverse);
    two = __float_as_uint(low) >> 16 | (__float_as_uint(high) & 0xffff0000u);
  }
  return scale;
}

// bf16 to f16 without loss of range: the slice is multiplied by the power of two that brings its
// largest value to 2^14. What is 2^28 smaller than that keeps fewer bits, and does not matter.
FSE_D float to_half(Vec16 (&v)[4], bool rescale) {
  int exponent = 127;  // of the factor: 1
  if (rescale) {
    const int most = largest_exponent(v);
    if (most >= 16 && most < 255)  // 0, and what is as good as 0, stays as it is
      exponent = smaller(254, 127 + 14 + 127 - most);
  }
  const u32 factor = static_cast<u32>(exponent) << 7 | static_cast<u32>(exponent) << 23;
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    u32& two = v[i >> 2].w[i & 3];
    if (rescale) two = multiply_bf16x2(two, factor);  // exact: a power of two
    two = f32_to_f16x2(low_bf16(two), high_bf16(two));
  }
  return 1.f / __uint_as_float(static_cast<u32>(exponent) << 23);
}

// Brings tokens into the form the weights are multiplied in.
template <Shape S, int kOp, Meet kMeet>
FSE_D void prepare(Tokens<true, kMeet>& t) {
  constexpr bool kHalf = kMeet == Meet::half;
  t.scale = 1;
  if constexpr (kMeet == Meet::codes)
    t.scale = quantise_to_codes(t.v);
  else if constexpr (S.format == kFp8Activations)
    t.scale = quantise(t.v);
  if constexpr (kHalf) {
    t.scale *= to_half(t.v, S.format != kFp8Activations);
  } else if constexpr (kMeet == Meet::bf16) {
#pragma unroll
    for (Vec16& v : t.v) v = scale_tokens(v);
  }
  if constexpr (kHalf || S.format == kFp8Activations)
#pragma unroll
    for (int i = 0; i < Tokens<true, kMeet>::kResults; ++i)
      t.results[i] = shfl(t.scale, kWave == 32 ? 4 * result_column(i) : result_column(i));
}
template <Shape S, int kOp, Meet kMeet>
FSE_D void prepare(Tokens<false, kMeet>& t) {
  if constexpr (kOp == kGate && S.format == kF16)  // the router is bf16 in f16 layers too
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      u32& two = t.v[i >> 2].w[i & 3];
      const u32 high = f32_to_bf16(f16_to_f32(static_cast<u16>(two >> 16)));
      two = f32_to_bf16(f16_to_f32(static_cast<u16>(two))) | high << 16;
    }
}

// One slice: d += rows x tokens, fp8 without its block scale. kF16Weights: both are f16 in memory.
template <bool kF16Weights>
FSE_D void multiply_slice(float (&d)[4], const Vec16 (&rows)[2][kRowParts],
                          const Tokens<false, Meet::bf16>& t) {
  multiply<kF16Weights>(d, rows[0], t.v[0]);
  multiply<kF16Weights>(d, rows[1], t.v[1]);
}
template <bool kF16Weights, Meet kMeet>
FSE_D void multiply_slice(float (&d)[4], const Vec16 (&rows)[2][kRowParts],
                          const Tokens<true, kMeet>& t) {
  constexpr bool kHalf = kMeet == Meet::half;
  if constexpr (kMeet == Meet::codes)
    return multiply_codes(d, {rows[0][0], rows[1][0]}, {t.v[0], t.v[1]});
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    Vec16 first[kRowParts], second[kRowParts];
#pragma unroll
    for (int part = 0; part < kRowParts; ++part)
      if constexpr (kHalf)
        unpack_e4m3_to_half(rows[half][part], first[part], second[part]);
      else
        unpack_e4m3(rows[half][part], first[part], second[part]);
    multiply<kHalf>(d, first, t.v[2 * half]);
    multiply<kHalf>(d, second, t.v[2 * half + 1]);
  }
}

}  // namespace fse::gpu
