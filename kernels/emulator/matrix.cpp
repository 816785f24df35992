#include "kernels/emulator/matrix.h"

#include <bit>
#include <cstdint>

#include "core/error.h"

namespace fse {

namespace {

using gpu::host::Matrix;
using gpu::host::MatrixElement;
using gpu::host::MatrixForm;
using Lanes = std::span<Matrix* const>;

float from_f16(uint32_t bits) {
  return static_cast<float>(std::bit_cast<_Float16>(static_cast<uint16_t>(bits)));
}

// CDNA's matrix units read subnormal bf16 as 0; mma.sync keeps them.
float operand(MatrixElement element, bool flush, uint32_t word, int half) {
  const uint32_t bits = half ? word >> 16 : word & 0xffffu;
  if (element == MatrixElement::f16) return from_f16(bits);
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
        a[g + 8 * (r % 2)][k + 8 * (r / 2)] = operand(element, false, m.a[r], half);
      for (int r = 0; r < 2; ++r) b[k + 8 * r][g] = operand(element, false, m.b[r], half);
    }
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
      float& d = lanes[static_cast<size_t>(lane)]->d[i];
      for (int k = 0; k < 16; ++k) d += a[row][k] * b[k][column];
    }
}

// From AMD's matrix instruction calculator, v_mfma_f32_16x16x16_f16 and _bf16_1k: lane l has row
// l % 16 of A and column l % 16 of B, both k = 4 * (l / 16) + 0..3; d[i] is row 4 * (l / 16) + i,
// column l % 16.
void mfma_16x16x16(MatrixElement element, Lanes lanes) {
  float a[16][16], b[16][16];
  for (int lane = 0; lane < 64; ++lane)
    for (int i = 0; i < 4; ++i) {
      const Matrix& m = *lanes[static_cast<size_t>(lane)];
      const int k = 4 * (lane / 16) + i;
      a[lane % 16][k] = operand(element, true, m.a[i / 2], i % 2);
      b[k][lane % 16] = operand(element, true, m.b[i / 2], i % 2);
    }
  for (int lane = 0; lane < 64; ++lane)
    for (int i = 0; i < 4; ++i) {
      float& d = lanes[static_cast<size_t>(lane)]->d[i];
      for (int k = 0; k < 16; ++k) d += a[4 * (lane / 16) + i][k] * b[k][lane % 16];
    }
}

}  // namespace

void multiply(MatrixForm form, MatrixElement element, Lanes lanes) {
  if (form == MatrixForm::m16n8k16) return m16n8k16(element, lanes);
  mfma_16x16x16(element, lanes);
}

}  // namespace fse
