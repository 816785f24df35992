#include "kernels/emulator/matrix.h"

#include <bit>
#include <cstdint>

#include "core/dtype.h"
#include "core/e4m3fnuz.h"

namespace fse {

namespace {

using gpu::host::Matrix;
using gpu::host::MatrixElement;
using gpu::host::MatrixForm;
using Lanes = std::span<Matrix* const>;

float from_f16_bits(uint32_t bits) {
  return static_cast<float>(std::bit_cast<_Float16>(static_cast<uint16_t>(bits)));
}

// Value `i` of a lane's operand. CDNA's matrix units read subnormal bf16 as 0; mma.sync keeps them.
float operand(MatrixElement element, bool flush, const unsigned* words, int i) {
  if (element == MatrixElement::e4m3fn || element == MatrixElement::e4m3fnuz) {
    const auto code = static_cast<uint8_t>(words[i / 4] >> 8 * (i % 4));
    return element == MatrixElement::e4m3fn ? from_fp8_e4m3fn(code) : from_fp8_e4m3fnuz(code);
  }
  const uint32_t bits = words[i / 2] >> 16 * (i % 2) & 0xffffu;
  if (element == MatrixElement::f16) return from_f16_bits(bits);
  if (flush && (bits & 0x7f80u) == 0) return 0;
  return std::bit_cast<float>(bits << 16);
}

// From the PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type": with g = lane / 4
// and t = lane % 4, word r of A is row g + 8 * (r % 2), columns 2t + 8 * (r / 2) and the next; word
// r of B is rows 2t + 8r and the next of column g; d[i] is row g + 8 * (i / 2), column 2t + i % 2.
void m16n8k16(MatrixElement element, Lanes lanes) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane)
    for (int half = 0; half < 2; ++half) {
      const Matrix& m = *lanes[static_cast<size_t>(lane)];
      const int g = lane / 4, k = 2 * (lane % 4) + half;
      for (int r = 0; r < 4; ++r)
        a[g + 8 * (r % 2)][k + 8 * (r / 2)] = operand(element, false, m.a, 2 * r + half);
      for (int r = 0; r < 2; ++r) b[k + 8 * r][g] = operand(element, false, m.b, 2 * r + half);
    }
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
      float& d = lanes[static_cast<size_t>(lane)]->d[i];
      for (int k = 0; k < 16; ++k) d += a[row][k] * b[k][column];
    }
}

// From AMD's matrix instruction calculator: v_mfma_f32_16x16x16_f16 and _bf16_1k (4 values a lane),
// v_mfma_f32_16x16x32_f16, _bf16 and _fp8_fp8 (8). Of n values a lane, lane l has row l % 16 of A
// and column l % 16 of B, both k = n * (l / 16) + 0..n-1; d[i] is row 4 * (l / 16) + i, column
// l % 16. v_mfma_f32_16x16x128_f8f6f4 has 32 codes a lane in two halves of 16, each laid out so:
// the first ones are k = 0..63, the second ones 64..127. That is how AMD's "Matrix Core Programming
// on AMD CDNA3 and CDNA4 architecture" (rocm.blogs.amd.com, 2025, figure 9) lays out fp8 for the
// sister form 32x32x64, and how vLLM's gfx950 kernels load 16x16x128. Without block scales any
// order of k is right that both operands share: AMD's aiter tests it with four pieces of 8.
template <int kValues, int kHalves = 1>
void mfma(MatrixElement element, Lanes lanes) {
  constexpr int kDepth = 4 * kValues * kHalves;
  float a[16][kDepth], b[kDepth][16];
  for (int lane = 0; lane < 64; ++lane)
    for (int i = 0; i < kValues * kHalves; ++i) {
      const Matrix& m = *lanes[static_cast<size_t>(lane)];
      const int k = 4 * kValues * (i / kValues) + kValues * (lane / 16) + i % kValues;
      a[lane % 16][k] = operand(element, true, m.a, i);
      b[k][lane % 16] = operand(element, true, m.b, i);
    }
  for (int lane = 0; lane < 64; ++lane)
    for (int i = 0; i < 4; ++i) {
      float& d = lanes[static_cast<size_t>(lane)]->d[i];
      for (int k = 0; k < kDepth; ++k) d += a[4 * (lane / 16) + i][k] * b[k][lane % 16];
    }
}

}  // namespace

void multiply(MatrixForm form, MatrixElement element, Lanes lanes) {
  switch (form) {
    case MatrixForm::m16n8k16:
      return m16n8k16(element, lanes);
    case MatrixForm::mfma_16x16x16:
      return mfma<4>(element, lanes);
    case MatrixForm::mfma_16x16x32:
      return mfma<8>(element, lanes);
    case MatrixForm::mfma_16x16x128:
      return mfma<16, 2>(element, lanes);
  }
}

}  // namespace fse
