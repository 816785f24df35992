#include "core/dtype.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace fse {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const float kNan = std::nanf("");

// Between neighbouring codes `a` < `b` of positive values, everything below the midpoint rounds to
// a, everything above to b, and the midpoint itself to the even one.
template <class Code, class Encode, class Decode>
void check_rounding(Code a, Code b, Encode encode, Decode decode, Code sign) {
  const float low = decode(a), high = decode(b);
  const float middle = low + (high - low) / 2;  // exact: formats are far coarser than f32
  CAPTURE(middle);
  const Code even = (a & 1) ? b : a;
  CHECK(encode(middle) == even);
  CHECK(encode(std::nextafter(middle, low)) == a);
  CHECK(encode(std::nextafter(middle, high)) == b);
  CHECK(encode(-middle) == (even | sign));
}

}  // namespace

TEST_CASE("names and sizes") {
  CHECK(from_name<DType>("fp8_block128") == DType::fp8_block128);
  CHECK_FALSE(from_name<DType>("fp8"));
  CHECK(element_bytes(DType::f32) == 4);
  CHECK(element_bytes(DType::bf16) == 2);
  CHECK(element_bytes(DType::f16) == 2);
  CHECK(element_bytes(DType::fp8_block128) == 1);
}

TEST_CASE("epsilon is the distance from 1 to the next value") {
  CHECK(epsilon(DType::bf16) == from_bf16(to_bf16(1) + 1) - 1);
  CHECK(epsilon(DType::f16) == from_f16(to_f16(1) + 1) - 1);
  CHECK(epsilon(DType::fp8_block128) == from_fp8_e4m3fn(to_fp8_e4m3fn(1) + 1) - 1);
  CHECK(epsilon(DType::f32) == std::nextafter(1.0f, 2.0f) - 1.0f);
}

TEST_CASE("all 256 fp8 codes round trip") {
  for (int code = 0; code < 256; ++code) {
    CAPTURE(code);
    const float value = from_fp8_e4m3fn(static_cast<uint8_t>(code));
    if ((code & 0x7f) == 0x7f) {
      CHECK(std::isnan(value));
      CHECK((to_fp8_e4m3fn(value) & 0x7f) == 0x7f);
      continue;
    }
    CHECK(std::isfinite(value));
    CHECK(std::signbit(value) == (code >= 0x80));
    CHECK(to_fp8_e4m3fn(value) == code);
  }
}

TEST_CASE("fp8 e4m3fn has the values of the OCP specification") {
  CHECK(from_fp8_e4m3fn(0x00) == 0.0f);
  CHECK(std::signbit(from_fp8_e4m3fn(0x80)));
  CHECK(from_fp8_e4m3fn(0x01) == 0x1p-9f);    // smallest subnormal
  CHECK(from_fp8_e4m3fn(0x07) == 0x1.cp-7f);  // largest subnormal
  CHECK(from_fp8_e4m3fn(0x08) == 0x1p-6f);    // smallest normal
  CHECK(from_fp8_e4m3fn(0x38) == 1.0f);
  CHECK(from_fp8_e4m3fn(0xb9) == -1.125f);
  CHECK(from_fp8_e4m3fn(0x78) == 256.0f);  // e5m2 would have an infinity here
  CHECK(from_fp8_e4m3fn(0x7e) == 448.0f);
}

TEST_CASE("fp8 rounds to nearest, ties to even, and saturates") {
  for (int code = 0; code < 0x7e; ++code)
    check_rounding<uint8_t>(static_cast<uint8_t>(code), static_cast<uint8_t>(code + 1),
                            to_fp8_e4m3fn, from_fp8_e4m3fn, 0x80);
  for (float large : {448.0f, 449.0f, 464.0f, 480.0f, 1e9f, kInfinity}) {
    CHECK(to_fp8_e4m3fn(large) == 0x7e);
    CHECK(to_fp8_e4m3fn(-large) == 0xfe);
  }
  CHECK(to_fp8_e4m3fn(0x1p-10f) == 0x00);  // halfway to the smallest subnormal: even is zero
  CHECK(to_fp8_e4m3fn(1e-30f) == 0x00);
  CHECK(to_fp8_e4m3fn(-1e-30f) == 0x80);
  CHECK(to_fp8_e4m3fn(std::numeric_limits<float>::denorm_min()) == 0x00);
  CHECK((to_fp8_e4m3fn(kNan) & 0x7f) == 0x7f);
  CHECK((to_fp8_e4m3fn(-kNan) & 0x7f) == 0x7f);
}

TEST_CASE("all f16 values round trip, and halfway cases round to even") {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto code = static_cast<uint16_t>(bits);
    const float value = from_f16(code);
    const uint16_t back = to_f16(value);
    const bool same = std::isnan(value) ? (back & 0x7fff) > 0x7c00 : back == code;
    if (!same) FAIL_CHECK("code ", bits, " came back as ", back);
  }
  // Every exponent, at its ends and inside; 0x7bff is 65504, the largest.
  for (uint32_t exponent = 0; exponent < 31; ++exponent)
    for (uint32_t fraction : {0u, 1u, 2u, 511u, 512u, 1021u, 1022u, 1023u}) {
      const auto code = static_cast<uint16_t>(exponent << 10 | fraction);
      if (code < 0x7bff)
        check_rounding<uint16_t>(code, static_cast<uint16_t>(code + 1), to_f16, from_f16, 0x8000);
    }
  CHECK(to_f16(65504.0f) == 0x7bff);
  CHECK(to_f16(std::nextafter(65520.0f, 0.0f)) == 0x7bff);
  CHECK(to_f16(65520.0f) == 0x7c00);  // halfway to what would be 65536: even, so infinity
  CHECK(to_f16(-kInfinity) == 0xfc00);
  CHECK(from_f16(0x7c00) == kInfinity);
  CHECK(from_f16(0x0001) == 0x1p-24f);
  CHECK(to_f16(0x1p-25f) == 0x0000);
  CHECK(std::isnan(from_f16(to_f16(kNan))));
}

TEST_CASE("all bf16 values round trip, and halfway cases round to even") {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto code = static_cast<uint16_t>(bits);
    const float value = from_bf16(code);
    const uint16_t back = to_bf16(value);
    const bool same = std::isnan(value) ? (back & 0x7fff) > 0x7f80 : back == code;
    if (!same) FAIL_CHECK("code ", bits, " came back as ", back);
  }
  for (uint32_t bits :
       {0x0000u, 0x0001u, 0x007fu, 0x0080u, 0x3f7fu, 0x3f80u, 0x3f81u, 0x4049u, 0x7f7eu})
    check_rounding<uint16_t>(static_cast<uint16_t>(bits), static_cast<uint16_t>(bits + 1), to_bf16,
                             from_bf16, 0x8000);
  CHECK(to_bf16(std::numeric_limits<float>::max()) == 0x7f80);  // rounds up to infinity
  CHECK(to_bf16(-kInfinity) == 0xff80);
  CHECK(to_bf16(-0.0f) == 0x8000);
}

// A payload that sits only in the bits that are cut off must not turn into infinity.
TEST_CASE("NaN stays NaN in bf16 whatever its payload") {
  for (uint32_t bits : {0x7f800001u, 0xff800001u, 0x7fffffffu, 0xffffffffu, 0x7fc00000u})
    CHECK(std::isnan(from_bf16(to_bf16(std::bit_cast<float>(bits)))));
}

}  // namespace fse
