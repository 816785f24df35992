#pragma once
#include <bit>
#include <cstdint>

#include "core/names.h"

namespace fse {

// How weights are stored. fp8_block128: e4m3fn codes with one f32 scale per 128x128 block.
enum class DType { f32, bf16, f16, fp8_block128 };
template <>
inline constexpr NameTable<DType, 4> kNames<DType>{{{DType::f32, "f32"},
                                                    {DType::bf16, "bf16"},
                                                    {DType::f16, "f16"},
                                                    {DType::fp8_block128, "fp8_block128"}}};

inline constexpr int kScaleBlock = 128;
constexpr int scale_blocks(int64_t extent) {
  return static_cast<int>((extent + kScaleBlock - 1) / kScaleBlock);
}

// Bytes of one stored element, scales not counted.
constexpr int64_t element_bytes(DType t) {
  return t == DType::f32 ? 4 : t == DType::fp8_block128 ? 1 : 2;
}

// Distance from 1 to the next value: 2^-23, 2^-7, 2^-10, 2^-3.
constexpr double epsilon(DType t) {
  return t == DType::f32 ? 0x1p-23 : t == DType::bf16 ? 0x1p-7 : t == DType::f16 ? 0x1p-10 : 0x1p-3;
}

inline float from_bf16(uint16_t bits) {
  return std::bit_cast<float>(uint32_t{bits} << 16);
}
uint16_t to_bf16(float value);        // round to nearest even; NaN stays NaN
float from_f16(uint16_t bits);        // IEEE binary16
uint16_t to_f16(float value);         // round to nearest even; overflow to infinity
float from_fp8_e4m3fn(uint8_t code);  // OCP e4m3fn: no infinity, 0x7f and 0xff are NaN
uint8_t to_fp8_e4m3fn(float value);   // round to nearest even, saturating at +-448; NaN stays NaN

}  // namespace fse
