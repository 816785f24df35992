#include "kernels/gpu/device_weights.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstring>

#include "core/e4m3fnuz.h"
#include "core/error.h"
#include "core/weights_layout.h"

namespace fse {
namespace {

using Kind = WeightPart::Kind;

TEST_CASE("gfx942 reads the same codes as half as much, and -0 as NaN: code times scale stays") {
  for (int code = 0; code < 256; ++code) {
    if ((code & 0x7f) == 0x7f) continue;
    CAPTURE(code);
    std::array converted{std::byte(code)};
    convert_part(Kind::codes, Fp8::e4m3fnuz, converted);
    CHECK(std::to_integer<int>(converted[0]) == (code == 0x80 ? 0 : code));
    float scale = 0.37f;
    std::array<std::byte, 4> bytes;
    std::memcpy(bytes.data(), &scale, 4);
    convert_part(Kind::scales, Fp8::e4m3fnuz, bytes);
    std::memcpy(&scale, bytes.data(), 4);
    CHECK(from_fp8_e4m3fnuz(std::to_integer<uint8_t>(converted[0])) * scale ==
          from_fp8_e4m3fn(static_cast<uint8_t>(code)) * 0.37f);
  }
}

TEST_CASE("what has no e4m3fnuz is an error that says so") {
  for (const int nan : {0x7f, 0xff}) {
    std::array codes{std::byte{1}, std::byte(nan)};
    CHECK_THROWS_WITH_AS(convert_part(Kind::codes, Fp8::e4m3fnuz, codes),
                         doctest::Contains("is NaN as e4m3"), Error);
    convert_part(Kind::codes, Fp8::e4m3fn, codes);  // others take it as it is
    CHECK(codes[1] == std::byte(nan));
  }
  const float scale = 3e38f;
  std::array<std::byte, 4> bytes;
  std::memcpy(bytes.data(), &scale, 4);
  CHECK_THROWS_WITH_AS(convert_part(Kind::scales, Fp8::e4m3fnuz, bytes),
                       doctest::Contains("cannot be doubled"), Error);
}

TEST_CASE("a device's weights are a copy; the plan's own stay e4m3fn") {
  LayerSpec layer;
  layer.hidden = 128;
  layer.intermediate = 128;
  layer.routing = {.experts = 4, .top_k = 2};
  layer.dtype = DType::fp8_block128;
  const LayerWeights weights = random_weights(layer, make_shard(layer, 1, 0), 1)[0];
  const int64_t codes = weights_layout(layer, weights.shard).gate_up_elements() * 4;
  const LayerWeights moved = device_weights(weights, Fp8::e4m3fnuz);
  CHECK(moved.gate_up != weights.gate_up);
  int64_t zeros = 0;
  for (int64_t i = 0; i < codes; ++i) {
    const bool zero = weights.gate_up[i] == std::byte{0x80};
    zeros += zero;
    CHECK(moved.gate_up[i] == (zero ? std::byte{0} : weights.gate_up[i]));
  }
  CHECK(zeros > 0);
  CHECK(moved.down_scale[3] == 2 * weights.down_scale[3]);
  CHECK(device_weights(weights, Fp8::e4m3fn).gate_up == weights.gate_up);
  CHECK(fp8_of("gfx942") == Fp8::e4m3fnuz);
  CHECK(fp8_of("gfx950") == Fp8::e4m3fn);
  CHECK(fp8_of("gfx90a") == Fp8::none);
  CHECK(fp8_of("sm_90") == Fp8::e4m3fn);
}

}  // namespace
}  // namespace fse
