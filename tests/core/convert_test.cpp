#include "core/convert.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/dtype.h"

namespace fse {
namespace {

// Floats with every upper 19 bits and these lower 13: all bf16 values, and points next to, on and
// beside every rounding boundary of f16 (13 bits dropped) and e4m3fn (20 bits dropped).
bool agrees(uint32_t bits) {
  const auto value = std::bit_cast<float>(bits);
  return fast_to_bf16(value) == to_bf16(value) && fast_to_f16(value) == to_f16(value) &&
         fast_to_fp8(value) == to_fp8_e4m3fn(value);
}

TEST_CASE("narrowing agrees with the plain definitions at every boundary") {
  int64_t wrong = 0;
  uint32_t first_wrong = 0;
  for (uint32_t high = 0; high < (1u << 19); ++high)
    for (const uint32_t low : {0x0000u, 0x0001u, 0x0fffu, 0x1000u, 0x1001u, 0x1fffu})
      if (!agrees(high << 13 | low) && wrong++ == 0) first_wrong = high << 13 | low;
  CAPTURE(first_wrong);
  CHECK(wrong == 0);
}

TEST_CASE("widening agrees with the plain definitions on every value") {
  const auto same = [](float a, float b) {
    return (std::isnan(a) && std::isnan(b)) ||
           std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
  };
  int wrong = 0;
  for (uint32_t bits = 0; bits < 65536; ++bits)
    wrong +=
        !same(fast_from_f16(static_cast<uint16_t>(bits)), from_f16(static_cast<uint16_t>(bits)));
  CHECK(wrong == 0);
  for (uint32_t code = 0; code < 256; ++code)
    if ((code & 0x7f) != 0x7f)
      wrong += !same(fast_from_fp8(static_cast<uint8_t>(code)),
                     from_fp8_e4m3fn(static_cast<uint8_t>(code)));
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace fse
