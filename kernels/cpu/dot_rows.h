#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cpu/packed_rows.h"
#include "kernels/cpu/team.h"

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
  int rows = 1;           // 1: rows one after the other; 4: four side by side share each input
  bool prefetch = false;  // ask for memory ahead; else leave that to the hardware
  bool shift = false;     // fp8_block128: widen codes by shifts instead of through f16
};

// Inputs in the order the weights' codec wants, kept by one thread for one step: the pieces of an
// expert share them.
struct StreamInputs {
  std::vector<const float*> packed;  // whose inputs `data` holds,
  int64_t depth = 0;                 // and how much of each
  std::span<float> data;
};

// Streams the weights once per four tokens, inputs in cache: for few tokens per row. Uses scratch
// slot 3.
void dot_stream(const DotRows&, const StreamTile&, StreamInputs&, Scratch&);

// How dot_block goes about it.
struct BlockTile {
  int tokens = 6;       // at most this many tokens times 4 rows are in registers
  int64_t depth = 512;  // elements of the sum between two stores: what stays in the first level
};

// Packs the tokens' inputs once per call, converts each weight once, and multiplies register
// blocks: for many tokens per row. Uses scratch slot 3.
void dot_block(const DotRows&, const BlockTile&, Scratch&);

}  // namespace fse
