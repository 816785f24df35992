#include "core/e4m3fnuz.h"

#include <algorithm>
#include <cmath>

namespace fse {

float from_fp8_e4m3fnuz(uint8_t code) {
  if (code == 0x80) return std::nanf("");
  const int exponent = (code >> 3) & 15;
  const int fraction = code & 7;
  const float sign = (code & 0x80) ? -1.0f : 1.0f;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -10);
  return sign * std::ldexp(static_cast<float>(fraction + 8), exponent - 11);
}

uint8_t to_fp8_e4m3fnuz(float value) {
  if (std::isnan(value)) return 0x80;
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  const float magnitude = std::fabs(value);
  if (magnitude >= 240.0f) return sign | 0x7f;
  const int exponent = magnitude == 0 ? -7 : std::max(std::ilogb(magnitude), -7);
  const auto steps = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 3 - exponent)));
  const int code = ((exponent + 7) << 3) + steps;
  return static_cast<uint8_t>(code == 0 ? 0 : sign | code);
}

}  // namespace fse
