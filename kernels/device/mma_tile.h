#pragma once
// Matrix units. One step multiplies 16 weight rows by kColumns tokens over 64 bytes of each weight
// row, accumulating in f32. k may be permuted as long as both operands are permuted alike, so every
// lane takes 16 contiguous bytes (chunk() of the four in the 64) of its row and of its token: no
// shuffle, no transposed load.
#include "kernels/device/numbers.h"

#if FSE_HOST
#define FSE_MMA_SYNC (FSE_HOST_WAVE == 32)
#else
#define FSE_MMA_SYNC FSE_NVIDIA
#endif
#define FSE_MFMA (FSE_GFX != 0)
#define FSE_MFMA_WIDE (FSE_GFX == 0x950)  // 32 values of k an instruction instead of 16
#define FSE_MFMA_FP8 (FSE_GFX == 0x942 || FSE_GFX == 0x950)

namespace fse::gpu {

// A wave of 32 holds m16n8k16 fragments: lane 4g + t has rows g and g + 8, column g, chunk t, and
// results at rows g, g + 8 and columns 2t, 2t + 1. A wave of 64 holds 16x16x16 fragments: lane
// 16q + r has row r, column r, chunk q, and results at rows 4q .. 4q + 3 of column r.
inline constexpr int kColumns = kWave == 32 ? 8 : 16;
inline constexpr int kRowParts = kWave == 32 ? 2 : 1;

FSE_D int mma_row(int part) {
  return kWave == 32 ? (lane_index() >> 2) + 8 * part : lane_index() & 15;
}
FSE_D int mma_column() {
  return kWave == 32 ? lane_index() >> 2 : lane_index() & 15;
}
FSE_D int mma_chunk() {
  return kWave == 32 ? lane_index() & 3 : lane_index() >> 4;
}
FSE_D int result_row(int i) {
  return kWave == 32 ? (lane_index() >> 2) + 8 * (i >> 1) : 4 * (lane_index() >> 4) + i;
}
FSE_D int result_column(int i) {
  return kWave == 32 ? 2 * (lane_index() & 3) + (i & 1) : lane_index() & 15;
}

// Where 16-byte chunk `chunk` of row `row` lies in an LDS tile of 128-byte rows. Conflict-free for
// the groups of 8 lanes in which either vendor reads 16 bytes per lane with the layouts above.
FSE_D int swizzle(int row, int chunk) {
  return row * 128 + ((chunk ^ ((row & 1) << 2 | (row >> 1 & 3))) << 4);
}

#if FSE_HOST
FSE_D void multiply_emulated(host::MatrixForm form, host::MatrixElement element, float (&d)[4],
                             host::Matrix m FSE_CALLED_AT) {
  for (int j = 0; j < 4; ++j) m.d[j] = d[j];
  host::here()->multiply(host::here(), form, element, &m, {"multiply", file, line});
  for (int j = 0; j < 4; ++j) d[j] = m.d[j];
}
#endif

#if FSE_MFMA && !FSE_HOST
using Float4 = float __attribute__((ext_vector_type(4)));
#endif

// 4 of the 8 values: words i and i + 1.
template <bool kHalf>
FSE_D void multiply_words(float (&d)[4], const Vec16 (&a)[kRowParts], const Vec16& b,
                          int i FSE_CALLED_AT) {
#if FSE_HOST
  // The second part of a row exists where a wave has 32 lanes; the other form reads two words.
  const Vec16 &first = a[0], &last = a[kRowParts - 1];
  multiply_emulated(FSE_MMA_SYNC ? host::MatrixForm::m16n8k16 : host::MatrixForm::mfma_16x16x16,
                    kHalf ? host::MatrixElement::f16 : host::MatrixElement::bf16, d, {
                      {first.w[i], kRowParts == 2 ? last.w[i] : first.w[i + 1], first.w[i + 1],
                       last.w[i + 1]},
                          {b.w[i], b.w[i + 1]}, {}
                    } FSE_PASS_ON);
#elif FSE_MMA_SYNC
  if constexpr (kHalf)
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0].w[i]), "r"(a[1].w[i]), "r"(a[0].w[i + 1]), "r"(a[1].w[i + 1]), "r"(b.w[i]),
          "r"(b.w[i + 1]));
  else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0].w[i]), "r"(a[1].w[i]), "r"(a[0].w[i + 1]), "r"(a[1].w[i + 1]), "r"(b.w[i]),
          "r"(b.w[i + 1]));
#elif FSE_MFMA
  using Words = u32 __attribute__((ext_vector_type(2)));
  using Short4 = short __attribute__((ext_vector_type(4)));
  using Half4 = _Float16 __attribute__((ext_vector_type(4)));
  const Words aw = {a[0].w[i], a[0].w[i + 1]}, bw = {b.w[i], b.w[i + 1]};
  Float4 c = {d[0], d[1], d[2], d[3]};
  if constexpr (kHalf)
    c = __builtin_amdgcn_mfma_f32_16x16x16f16(__builtin_bit_cast(Half4, aw),
                                              __builtin_bit_cast(Half4, bw), c, 0, 0, 0);
  else
    c = __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(__builtin_bit_cast(Short4, aw),
                                                  __builtin_bit_cast(Short4, bw), c, 0, 0, 0);
  for (int j = 0; j < 4; ++j) d[j] = c[j];
#else
  constexpr int kFormat = kHalf ? kF16 : kBf16;
  // Scalar form: every result gathers its row and its column from the lanes that hold them.
  for (int chunk = 0; chunk < 4; ++chunk)
    for (int word = i; word < i + 2; ++word)
      for (int j = 0; j < 4; ++j) {
        const int row = result_row(j), column = result_column(j);
        const int row_lane = kWave == 32 ? (row & 7) * 4 + chunk : chunk * 16 + row;
        const int column_lane = kWave == 32 ? column * 4 + chunk : chunk * 16 + column;
        const u32 low = shfl(a[0].w[word], row_lane);
        const u32 high = shfl(a[kRowParts - 1].w[word], row_lane);
        const u32 x = kRowParts == 2 && row >= 8 ? high : low;
        const u32 y = shfl(b.w[word], column_lane);
        d[j] += from_activation<kFormat>(static_cast<u16>(x)) *
                from_activation<kFormat>(static_cast<u16>(y));
        d[j] += from_activation<kFormat>(static_cast<u16>(x >> 16)) *
                from_activation<kFormat>(static_cast<u16>(y >> 16));
      }
#endif
}

// 8 values of 16 bits of each row and token; kF16 or bf16.
template <bool kHalf>
FSE_D void multiply(float (&d)[4], const Vec16 (&a)[kRowParts], const Vec16& b FSE_CALLED_AT) {
#if FSE_MFMA_WIDE && FSE_HOST
  const Vec16& r = a[0];
  multiply_emulated(host::MatrixForm::mfma_16x16x32,
                    kHalf ? host::MatrixElement::f16 : host::MatrixElement::bf16, d, {
                      {r.w[0], r.w[1], r.w[2], r.w[3]}, {b.w[0], b.w[1], b.w[2], b.w[3]}, {}
                    } FSE_PASS_ON);
#elif FSE_MFMA_WIDE
  using Bf16x8 = __bf16 __attribute__((ext_vector_type(8)));
  using Half8 = _Float16 __attribute__((ext_vector_type(8)));
  Float4 c = {d[0], d[1], d[2], d[3]};
  if constexpr (kHalf)
    c = __builtin_amdgcn_mfma_f32_16x16x32_f16(__builtin_bit_cast(Half8, a[0]),
                                               __builtin_bit_cast(Half8, b), c, 0, 0, 0);
  else
    c = __builtin_amdgcn_mfma_f32_16x16x32_bf16(__builtin_bit_cast(Bf16x8, a[0]),
                                                __builtin_bit_cast(Bf16x8, b), c, 0, 0, 0);
  for (int j = 0; j < 4; ++j) d[j] = c[j];
#else
  multiply_words<kHalf>(d, a, b, 0 FSE_PASS_ON);
  multiply_words<kHalf>(d, a, b, 2 FSE_PASS_ON);
#endif
}

// Matrix units that multiply e4m3 codes as they are: activations=fp8 on AMD. A whole slice of 128
// k, 16 codes of each of its halves.
inline constexpr bool kMultipliesCodes = FSE_MFMA_FP8;

// Four codes, the first in the lowest byte.
FSE_D u32 e4m3_codes(float a, float b, float c, float d) {
#if FSE_MFMA_FP8 && !FSE_HOST
  // The instruction rounds to nearest even; what is too large it does not clamp.
  const auto clamp = [](float v) {
    return v != v ? v : fminf(fmaxf(v, -kE4m3Largest), kE4m3Largest);
  };
  const int two = __builtin_amdgcn_cvt_pk_fp8_f32(clamp(a), clamp(b), 0, false);
  return static_cast<u32>(__builtin_amdgcn_cvt_pk_fp8_f32(clamp(c), clamp(d), two, true));
#else
  return e4m3_code(a) | e4m3_code(b) << 8 | e4m3_code(c) << 16 | e4m3_code(d) << 24;
#endif
}

FSE_D void multiply_codes(float (&d)[4], const Vec16 (&a)[2], const Vec16 (&b)[2] FSE_CALLED_AT) {
#if FSE_HOST && FSE_MFMA_FP8
  constexpr auto kElement = kFnuz ? host::MatrixElement::e4m3fnuz : host::MatrixElement::e4m3fn;
  if (FSE_MFMA_WIDE) {
    host::Matrix m{};
    for (int i = 0; i < 8; ++i) {
      m.a[i] = a[i >> 2].w[i & 3];
      m.b[i] = b[i >> 2].w[i & 3];
    }
    return multiply_emulated(host::MatrixForm::mfma_16x16x128, kElement, d, m FSE_PASS_ON);
  }
  for (int i = 0; i < 8; i += 2) {
    const Vec16 &x = a[i >> 2], &y = b[i >> 2];
    multiply_emulated(host::MatrixForm::mfma_16x16x32, kElement, d, {
      {x.w[i & 3], x.w[(i & 3) + 1]}, {y.w[i & 3], y.w[(i & 3) + 1]}, {}
    } FSE_PASS_ON);
  }
#elif FSE_MFMA_FP8
  Float4 c = {d[0], d[1], d[2], d[3]};
#if FSE_MFMA_WIDE
  using Int8 = int __attribute__((ext_vector_type(8)));
  struct Codes {
    Vec16 half[2];
  };
  c = __builtin_amdgcn_mfma_scale_f32_16x16x128_f8f6f4(
      __builtin_bit_cast(Int8, Codes{a[0], a[1]}), __builtin_bit_cast(Int8, Codes{b[0], b[1]}), c,
      0, 0, 0, 0, 0, 0);  // both e4m3, without block scales
#else
#pragma unroll
  for (int i = 0; i < 8; i += 2) {
    const Vec16 &x = a[i >> 2], &y = b[i >> 2];
    c = __builtin_amdgcn_mfma_f32_16x16x32_fp8_fp8(
        static_cast<long>(x.w[i & 3] | u64{x.w[(i & 3) + 1]} << 32),
        static_cast<long>(y.w[i & 3] | u64{y.w[(i & 3) + 1]} << 32), c, 0, 0, 0);
  }
#endif
  for (int j = 0; j < 4; ++j) d[j] = c[j];
#endif
}

// e4m3 weights meet bf16 tokens: sign, exponent and mantissa moved into a bf16 are the value times
// 2^-120 (e4m3fnuz: 2^-119), exact, subnormals included. The tokens are multiplied by 2^104
// (bf16-exact up to 2^24), and the f32 result is kFp8Unscale times too small. Where the matrix unit
// flushes subnormals (CDNA) the weights are brought to scale in f32 instead.
inline constexpr float kFp8Unscale = FSE_MMA_SYNC ? 65536.f : 1.f;

FSE_D u32 e4m3x2_to_bf16x2(u32 two) {  // codes in bits 8..15 and 24..31
  const u32 small = (two & 0x80008000u) | (two >> 4 & 0x07f007f0u);
#if FSE_MMA_SYNC
  return small;
#else
  const float grow = __uint_as_float((kE4m3Shift + 127u) << 23);
  const float low = __uint_as_float(small << 16) * grow;
  const float high = __uint_as_float(small & 0xffff0000u) * grow;
  return __float_as_uint(low) >> 16 | (__float_as_uint(high) & 0xffff0000u);
#endif
}
// 16 codes to 2 x 8 bf16, in order.
FSE_D void unpack_e4m3(const Vec16& codes, Vec16& first, Vec16& second) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const u32 v = codes.w[i];
    const u32 low = (v << 8 & 0xff00u) | (v << 16 & 0xff000000u);
    const u32 high = (v >> 8 & 0xff00u) | (v & 0xff000000u);
    Vec16& to = i < 2 ? first : second;
    to.w[2 * (i & 1)] = e4m3x2_to_bf16x2(low);
    to.w[2 * (i & 1) + 1] = e4m3x2_to_bf16x2(high);
  }
}
FSE_D Vec16 scale_tokens(Vec16 v) {
#if FSE_HOST && FSE_MMA_SYNC
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const u32 low = f32_to_bf16(__uint_as_float(v.w[i] << 16) * 0x1p104f);
    const u32 high = f32_to_bf16(__uint_as_float(v.w[i] & 0xffff0000u) * 0x1p104f);
    v.w[i] = low | high << 16;
  }
#elif FSE_MMA_SYNC
  const u32 factor = (127u + 104u) << 7 | (127u + 104u) << 23;
#pragma unroll
  for (int i = 0; i < 4; ++i) v.w[i] = multiply_bf16x2(v.w[i], factor);
#endif
  return v;
}

// NVIDIA converts e4m3 to f16 in a quarter of the instructions. Worth it where the tokens, which
// must be f16 then, are prepared once for many tiles.
inline constexpr bool kUnpacksToHalf = FSE_MMA_SYNC;

FSE_D void unpack_e4m3_to_half([[maybe_unused]] const Vec16& codes, [[maybe_unused]] Vec16& first,
                               [[maybe_unused]] Vec16& second) {
#if FSE_HOST && FSE_MMA_SYNC
  for (int i = 0; i < 16; ++i) {  // every e4m3 value is an f16
    const u8 code = static_cast<u8>(codes.w[i >> 2] >> 8 * (i & 3));
    const u32 half = f32_to_f16(e4m3_to_f32(code));
    u32& to = (i < 8 ? first : second).w[i >> 1 & 3];
    to = i & 1 ? (to & 0xffffu) | half << 16 : half;
  }
#elif FSE_MMA_SYNC
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    Vec16& to = i < 2 ? first : second;
    asm("{ .reg .b16 low, high; mov.b32 {low, high}, %2;"
        "  cvt.rn.f16x2.e4m3x2 %0, low; cvt.rn.f16x2.e4m3x2 %1, high; }"
        : "=r"(to.w[2 * (i & 1)]), "=r"(to.w[2 * (i & 1) + 1])
        : "r"(codes.w[i]));
  }
#endif
}

}  // namespace fse::gpu
