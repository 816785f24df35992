#pragma once
#include <cstdint>

#include "kernels/cpu/packed_rows.h"

namespace fse {

// out[t * out_stride + r - row_begin] (+)= sum over [0, depth) of rows[r][k] * x[t][k], in f32.
struct DotRows {
  PackedRows rows;
  int64_t row_begin = 0, row_end = 0;  // fp8_block128: row_begin is a multiple of 4
  int64_t depth = 0;
  const float* const* x = nullptr;  // one pointer per token
  int64_t tokens = 0;
  float* out = nullptr;
  int64_t out_stride = 0;
  bool accumulate = false;
};

// How dot_stream goes about it.
struct StreamTile {
  int rows = 4;           // 1, 2 or 4 weight rows share each loaded piece of x
  int prefetch_rows = 0;  // how many rows ahead memory is asked for; 0: hardware only
};

// Streams the weights once per four tokens, x in cache: for few tokens per row.
void dot_stream(const DotRows&, const StreamTile&);

}  // namespace fse
