#include <doctest/doctest.h>

#include <array>
#include <bit>
#include <cstdint>
#include <vector>

#include "core/dtype.h"
#include "core/e4m3fnuz.h"
#include "kernels/emulator/matrix.h"

// The emulator's matrix instructions against a plain product. Registers are filled and read here by
// the vendors' formulas for one element, in the words of their documents; the emulator has them the
// other way round, for one register.

using namespace fse;

namespace {

using gpu::host::Matrix;
using gpu::host::MatrixElement;
using gpu::host::MatrixForm;

// Value `item` of the registers of `lane`.
struct Place {
  int lane, item;
};

struct Layout {
  MatrixForm form;
  int lanes, columns, depth;
  std::vector<MatrixElement> elements;
  Place (*a)(int row, int k);
  Place (*b)(int k, int column);
  Place (*d)(int row, int column);
};

// AMD's matrix instruction calculator, for n values of k to a lane: A[i][k] is in lane
// i + 16 * floor(k / n), item k % n; B[k][j] in lane j + 16 * floor(k / n), item k % n.
template <int n>
constexpr Place mfma_operand(int i, int k) {
  return {i + 16 * (k / n), k % n};
}
Place mfma_result(int i, int j) {  // D[i][j]: lane j + 16 * floor(i / 4), register i % 4
  return {j + 16 * (i / 4), i % 4};
}
template <int n>
Layout mfma(MatrixForm form, std::vector<MatrixElement> elements) {
  return {form,
          64,
          16,
          4 * n,
          std::move(elements),
          [](int row, int k) { return mfma_operand<n>(row, k); },
          [](int k, int column) { return mfma_operand<n>(column, k); },
          mfma_result};
}

std::vector<Layout> layouts() {
  constexpr auto kBf16 = MatrixElement::bf16, kF16 = MatrixElement::f16;
  constexpr auto kFn = MatrixElement::e4m3fn, kFnuz = MatrixElement::e4m3fnuz;
  // PTX ISA, mma.m16n8k16 with .f16 or .bf16: with groupID = lane >> 2 and threadID_in_group =
  // lane % 4, a_i is row groupID for i in 0, 1, 4, 5 and groupID + 8 else, column
  // threadID_in_group * 2 + (i & 1), and 8 more for i >= 4; b_i is row threadID_in_group * 2 +
  // (i & 1), 8 more for i >= 2, of column groupID; c_i is row groupID, 8 more for i >= 2, column
  // threadID_in_group * 2 + (i & 1).
  const Layout mma_sync{
      MatrixForm::m16n8k16,
      32,
      8,
      16,
      {kBf16, kF16},
      [](int row, int k) {
        return Place{row % 8 * 4 + k % 8 / 2, (row >= 8 ? 2 : 0) + (k >= 8 ? 4 : 0) + k % 2};
      },
      [](int k, int column) {
        return Place{column * 4 + k % 8 / 2, (k >= 8 ? 2 : 0) + k % 2};
      },
      [](int row, int column) {
        return Place{row % 8 * 4 + column / 2, (row >= 8 ? 2 : 0) + column % 2};
      }};
  // v_mfma_f32_16x16x128_f8f6f4: two such halves of 64 k, 16 codes of each.
  const Layout f8f6f4{MatrixForm::mfma_16x16x128,
                      64,
                      16,
                      128,
                      {kFn},
                      [](int row, int k) {
                        return Place{mfma_operand<16>(row, k % 64).lane, k % 16 + 16 * (k / 64)};
                      },
                      [](int k, int column) {
                        return Place{mfma_operand<16>(column, k % 64).lane, k % 16 + 16 * (k / 64)};
                      },
                      mfma_result};
  return {mma_sync, mfma<4>(MatrixForm::mfma_16x16x16, {kBf16, kF16}),
          mfma<8>(MatrixForm::mfma_16x16x32, {kBf16, kF16, kFn, kFnuz}), f8f6f4};
}

bool is_fp8(MatrixElement element) {
  return element == MatrixElement::e4m3fn || element == MatrixElement::e4m3fnuz;
}

class Wave {
 public:
  Wave(const Layout& layout, MatrixElement element)
      : layout_(layout), element_(element), lanes_(static_cast<size_t>(layout.lanes)) {}
  void set_a(int row, int k, uint32_t bits) { put(layout_.a(row, k), &Matrix::a, bits); }
  void set_b(int k, int column, uint32_t bits) { put(layout_.b(k, column), &Matrix::b, bits); }
  float& d(int row, int column) {
    const Place p = layout_.d(row, column);
    return lanes_.at(static_cast<size_t>(p.lane)).d[p.item];
  }
  void multiply() {
    std::vector<Matrix*> all;
    for (Matrix& lane : lanes_) all.push_back(&lane);
    fse::multiply(layout_.form, element_, all);
  }

 private:
  void put(Place p, unsigned (Matrix::*words)[8], uint32_t bits) {
    const int width = is_fp8(element_) ? 8 : 16, per_word = 32 / width;
    (lanes_.at(static_cast<size_t>(p.lane)).*words)[p.item / per_word] |=
        bits << width * (p.item % per_word);
  }
  const Layout& layout_;
  MatrixElement element_;
  std::vector<Matrix> lanes_;
};

// The values a format has, small enough that all sums are exact: integers for 16 bits, of fp8 those
// from 2^-3 to 15/4.
float value_of(MatrixElement element, uint32_t bits) {
  const auto code = static_cast<uint8_t>(bits);
  if (element == MatrixElement::e4m3fn) return from_fp8_e4m3fn(code);
  if (element == MatrixElement::e4m3fnuz) return from_fp8_e4m3fnuz(code);
  return element == MatrixElement::bf16 ? from_bf16(static_cast<uint16_t>(bits))
                                        : from_f16(static_cast<uint16_t>(bits));
}
// Element `i` of a matrix. 16 bits: integers 1 to 256, no two the same in 256 neighbours. fp8 has
// few values: 40 by turns, and two neighbours in any direction differ.
uint32_t bits_of(MatrixElement element, int i) {
  const auto integer = static_cast<float>(1 + i * 97 % 256);
  if (element == MatrixElement::bf16) return to_bf16(integer);
  if (element == MatrixElement::f16) return to_f16(integer);
  return static_cast<uint32_t>(0x20 + i * 7 % 40);
}

constexpr uint32_t kOne[] = {0x3f80, 0x3c00, 0x38, 0x40};  // in the order of MatrixElement

template <class Use>
void for_each_form(Use use) {
  for (const Layout& layout : layouts())
    for (const MatrixElement element : layout.elements) {
      CAPTURE(layout.depth);
      CAPTURE(layout.lanes);
      CAPTURE(static_cast<int>(element));
      use(layout, element);
    }
}

}  // namespace

TEST_CASE("emulator matrix: the documented registers give the plain product") {
  for_each_form([](const Layout& layout, MatrixElement element) {
    Wave wave(layout, element);
    const auto a = [&](int row, int k) { return bits_of(element, layout.depth * row + k); };
    const auto b = [&](int k, int c) { return bits_of(element, layout.columns * k + c + 3); };
    for (int k = 0; k < layout.depth; ++k) {
      for (int row = 0; row < 16; ++row) wave.set_a(row, k, a(row, k));
      for (int c = 0; c < layout.columns; ++c) wave.set_b(k, c, b(k, c));
    }
    for (int row = 0; row < 16; ++row)
      for (int c = 0; c < layout.columns; ++c) wave.d(row, c) = static_cast<float>(100 * row + c);
    wave.multiply();
    for (int row = 0; row < 16; ++row)
      for (int c = 0; c < layout.columns; ++c) {
        CAPTURE(row);
        CAPTURE(c);
        float want = static_cast<float>(100 * row + c);  // below 2^24: every sum is exact
        for (int k = 0; k < layout.depth; ++k)
          want += value_of(element, a(row, k)) * value_of(element, b(k, c));
        CHECK(wave.d(row, c) == want);
      }
  });
}

// One 1 in B at a time: each element of A is seen alone, and so is its place.
TEST_CASE("emulator matrix: every element of A reaches its results, and no other") {
  for_each_form([](const Layout& layout, MatrixElement element) {
    for (int at = 0; at < layout.depth; ++at) {
      Wave wave(layout, element);
      for (int row = 0; row < 16; ++row)
        for (int k = 0; k < layout.depth; ++k)
          wave.set_a(row, k, bits_of(element, layout.depth * row + k));
      const int column = at % layout.columns;
      wave.set_b(at, column, kOne[static_cast<size_t>(element)]);
      wave.multiply();
      bool right = true;
      for (int row = 0; row < 16; ++row)
        for (int c = 0; c < layout.columns; ++c)
          right &= wave.d(row, c) ==
                   (c == column ? value_of(element, bits_of(element, layout.depth * row + at)) : 0);
      CAPTURE(at);
      CHECK(right);
    }
  });
}

TEST_CASE("emulator matrix: the two fp8 formats differ by 4 in a product of the same codes") {
  const Layout layout = layouts()[2];
  for (int code = 1; code < 0x7f; ++code) {
    float result[2];
    for (const MatrixElement element : {MatrixElement::e4m3fn, MatrixElement::e4m3fnuz}) {
      Wave wave(layout, element);
      wave.set_a(3, 5, static_cast<uint32_t>(code));
      wave.set_b(5, 2, static_cast<uint32_t>(code));
      wave.multiply();
      result[element == MatrixElement::e4m3fnuz] = wave.d(3, 2);
    }
    CHECK(result[0] == 4 * result[1]);
  }
}

TEST_CASE("emulator matrix: CDNA reads subnormal bf16 as 0, mma.sync keeps them") {
  for (const Layout& layout : layouts()) {
    if (layout.elements[0] != MatrixElement::bf16) continue;
    Wave wave(layout, MatrixElement::bf16);
    wave.set_a(3, 5, to_bf16(0x1p-130f));
    wave.set_b(5, 2, to_bf16(0x1p100f));
    wave.multiply();
    CHECK(wave.d(3, 2) == (layout.form == MatrixForm::m16n8k16 ? 0x1p-30f : 0.f));
  }
}
