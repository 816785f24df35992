#include "core/e4m3fnuz.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/dtype.h"

using namespace fse;

TEST_CASE("e4m3fnuz is half of e4m3fn, but for its one NaN; its codes round trip") {
  for (int code = 0; code < 256; ++code) {
    CAPTURE(code);
    const float value = from_fp8_e4m3fnuz(static_cast<uint8_t>(code));
    if (code == 0x80) {
      CHECK(std::isnan(value));
      CHECK(to_fp8_e4m3fnuz(value) == 0x80);
      continue;
    }
    if ((code & 0x7f) != 0x7f) CHECK(2 * value == from_fp8_e4m3fn(static_cast<uint8_t>(code)));
    CHECK(to_fp8_e4m3fnuz(value) == code);
  }
  CHECK(from_fp8_e4m3fnuz(0x7f) == 240.0f);
  CHECK(from_fp8_e4m3fnuz(0xff) == -240.0f);
  CHECK(from_fp8_e4m3fnuz(0x40) == 1.0f);
  CHECK(to_fp8_e4m3fnuz(-0.0f) == 0);  // there is no -0
  CHECK(to_fp8_e4m3fnuz(-0x1p-12f) == 0);
}

TEST_CASE("e4m3fnuz rounds to nearest, ties to even, and saturates") {
  for (int code = 0; code < 0x7f; ++code) {
    CAPTURE(code);
    const float low = from_fp8_e4m3fnuz(static_cast<uint8_t>(code));
    const float high = from_fp8_e4m3fnuz(static_cast<uint8_t>(code + 1));
    const float middle = low + (high - low) / 2;
    const int even = code & 1 ? code + 1 : code;
    CHECK(to_fp8_e4m3fnuz(middle) == even);
    CHECK(to_fp8_e4m3fnuz(-middle) == (even == 0 ? 0 : even | 0x80));
    CHECK(to_fp8_e4m3fnuz(std::nextafter(middle, low)) == code);
    CHECK(to_fp8_e4m3fnuz(std::nextafter(middle, high)) == code + 1);
  }
  for (const float large : {240.0f, 248.0f, 249.0f, 448.0f, 1e9f, INFINITY}) {
    CHECK(to_fp8_e4m3fnuz(large) == 0x7f);
    CHECK(to_fp8_e4m3fnuz(-large) == 0xff);
  }
}
