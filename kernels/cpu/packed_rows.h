#pragma once
#include <cstddef>
#include <cstdint>

#include "core/weights.h"

namespace fse {

// Rows of packed weights: [rows][depth] elements, for fp8_block128 with a scale per 128x128 block.
struct PackedRows {
  DType dtype = DType::f32;
  const std::byte* data = nullptr;
  int64_t row_bytes = 0;
  const float* scales = nullptr;
  int64_t scales_per_block_row = 0;

  const std::byte* row(int64_t r) const { return data + r * row_bytes; }
  const float* scales_of(int64_t r) const {
    return scales + r / kScaleBlock * scales_per_block_row;
  }
};

PackedRows router_rows(const LayerWeights&);            // [experts + gate_rows][hidden]
PackedRows gate_rows(const LayerWeights&, int expert);  // [intermediate][hidden]
PackedRows up_rows(const LayerWeights&, int expert);    // [intermediate][hidden]
PackedRows down_rows(const LayerWeights&, int expert);  // [hidden][intermediate]

}  // namespace fse
