#pragma once
#include <cstdint>

namespace fse {

// AMD gfx942's fp8: half of e4m3fn's value for the same bits. 0x80 is NaN, and there is no other
// and no -0; up to 240.
float from_fp8_e4m3fnuz(uint8_t code);
uint8_t to_fp8_e4m3fnuz(float value);  // round to nearest even, saturating; NaN stays NaN

}  // namespace fse
