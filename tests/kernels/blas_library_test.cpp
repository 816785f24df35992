#include "kernels/blas_library.h"

#include <doctest/doctest.h>

#if __has_include(<cublasLt.h>)
#include <cublasLt.h>
#endif

#include <cmath>
#include <vector>

#include "core/dtype.h"
#include "core/error.h"
#include "core/outcome.h"
#include "core/rng.h"

using namespace fse;

namespace {

const std::filesystem::path kStandIns = FSELAB_STAND_INS;

// [rows][stride] values of 16 bits, NaN where a stride leaves a gap.
std::vector<uint16_t> values(Rng& rng, int rows, int columns, int64_t stride, Element element) {
  std::vector<uint16_t> all(static_cast<size_t>(rows * stride), 0xffff);
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < columns; ++c) {
      const auto v = static_cast<float>(static_cast<int>(rng.next() % 15) - 7);
      all[static_cast<size_t>(r * stride + c)] = element == Element::f16 ? to_f16(v) : to_bf16(v);
    }
  return all;
}

struct Operands {
  std::vector<uint16_t> weights, in;
  std::vector<float> out, expected;
  Product product;
};

Operands operands(Element element, bool add) {
  Rng rng(3);
  constexpr int kRows = 5, kTokens = 3, kDepth = 17;
  constexpr int64_t kWeights = 20, kIn = 18, kOut = 7;
  Operands o{.weights = values(rng, kRows, kDepth, kWeights, element),
             .in = values(rng, kTokens, kDepth, kIn, element),
             .out = std::vector<float>(kTokens * kOut, 0.25f),
             .expected = {},
             .product = {}};
  o.product = {.weights = o.weights.data(),
               .in = o.in.data(),
               .out = o.out.data(),
               .rows = kRows,
               .tokens = kTokens,
               .depth = kDepth,
               .weights_stride = kWeights,
               .in_stride = kIn,
               .out_stride = kOut,
               .element = element,
               .out_element = Element::f32,
               .alpha = 0.5f,
               .add = add};
  o.expected = o.out;
  Product host = o.product;
  host.out = o.expected.data();
  multiply_on_host(host);
  return o;
}

std::shared_ptr<const BlasHandle> stand_in(const std::string& arch) {
  return std::make_shared<const BlasHandle>(open_blas(arch, {kStandIns}));
}

}  // namespace

TEST_CASE("a product on the host is the sum that it says") {
  const std::vector<uint16_t> weights{to_bf16(1), to_bf16(2), to_bf16(9), to_bf16(3), to_bf16(4)};
  const std::vector<uint16_t> in{to_bf16(5), to_bf16(6)};
  std::vector<uint16_t> out{to_f16(8), to_f16(8), 7};
  Product p{.weights = weights.data(),
            .in = in.data(),
            .out = out.data(),
            .rows = 2,
            .tokens = 1,
            .depth = 2,
            .weights_stride = 3,
            .in_stride = 2,
            .out_stride = 3,
            .element = Element::bf16,
            .out_element = Element::f16,
            .alpha = 2};
  multiply_on_host(p);
  CHECK(from_f16(out[0]) == 2 * (1 * 5 + 2 * 6));
  CHECK(from_f16(out[1]) == 2 * (3 * 5 + 4 * 6));
  p.add = true;
  multiply_on_host(p);
  CHECK(from_f16(out[0]) == 4 * (1 * 5 + 2 * 6));
  CHECK(out[2] == 7);  // outside the rows
}

TEST_CASE("both vendors' libraries are asked for the product that the host makes") {
  for (const std::string arch : {"sm_90", "gfx942"}) {
    CAPTURE(arch);
    const auto handle = stand_in(arch);
    CHECK(to_text(handle->blas()) == (arch == "sm_90" ? "cuBLASLt 13.2.1" : "hipBLASLt 1.2.3"));
    for (const Element element : {Element::bf16, Element::f16})
      for (const bool add : {false, true}) {
        Operands o = operands(element, add);
        const BlasProduct product(handle, {&o.product, 1}, 0, 0);
        CHECK(product.workspace_bytes() == 0);
        product.run(o.product, nullptr, nullptr);
        CHECK(o.out == o.expected);
      }
  }
}

TEST_CASE("an algorithm is one of those proposed, with the workspace that it needs") {
  for (const std::string arch : {"sm_90", "gfx942"}) {
    CAPTURE(arch);
    const auto handle = stand_in(arch);
    Operands o = operands(Element::bf16, false);
    const BlasProduct second(handle, {&o.product, 1}, 1, 32 << 20);
    CHECK(second.workspace_bytes() == 1 << 20);
    std::vector<std::byte> workspace(1 << 20);
    second.run(o.product, workspace.data(), nullptr);
    CHECK(o.out == o.expected);
    CHECK_THROWS_AS(second.run(o.product, nullptr, nullptr), AttemptError);  // and says so
    const BlasProduct third(handle, {&o.product, 1}, 1, 0);  // the second is not proposed now
    third.run(o.product, nullptr, nullptr);
    CHECK(o.out[0] == -o.expected[0]);
    CHECK_THROWS_WITH_AS(BlasProduct(handle, {&o.product, 1}, 3, 32 << 20),
                         doctest::Contains("proposes 3 algorithms for 5 rows, 3 tokens and depth "
                                           "17, there is no 3"),
                         AttemptError);
    o.product.out_element = Element::f16;  // of bf16 operands
    CHECK_THROWS_WITH_AS(BlasProduct(handle, {&o.product, 1}, 0, 0),
                         doctest::Contains("proposes no algorithm: status 15"), AttemptError);
  }
}

TEST_CASE("a library that is missing, or another one, is an error that names it") {
  CHECK_THROWS_WITH_AS(open_blas("x86"), doctest::Contains("expected gfx... or sm_..."), Error);
  // What lies where a library is looked for, and is none.
  CHECK_THROWS_WITH_AS(open_blas("gfx942", {kStandIns / "other"}),
                       doctest::Contains("libhipblaslt.so.1 has no function hipblasLtCreate: is it "
                                         "a hipBLASLt library?"),
                       Error);
}

#if __has_include(<cublasLt.h>)
TEST_CASE("the numbers are those of NVIDIA's header") {
  const BlasNumbers n = blas_numbers(Vendor::nvidia);
  CHECK(n.compute_f32 == CUBLAS_COMPUTE_32F);
  CHECK(n.transposed == CUBLAS_OP_T);
  CHECK(n.transpose_a == CUBLASLT_MATMUL_DESC_TRANSA);
  CHECK(n.max_workspace == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
  CHECK(n.alignments[0] == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
  CHECK(n.alignments[3] == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
  CHECK(n.algorithm_bytes == sizeof(cublasLtMatmulAlgo_t));
  CHECK(n.algorithm_bytes + 32 == sizeof(cublasLtMatmulHeuristicResult_t));
  CHECK(offsetof(cublasLtMatmulHeuristicResult_t, state) == n.algorithm_bytes + 8);
  CHECK(CUDA_R_32F == 0);
  CHECK(CUDA_R_16F == 2);
  CHECK(CUDA_R_16BF == 14);
}
#endif
