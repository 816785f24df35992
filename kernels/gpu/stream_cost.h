#pragma once
#include "kernels/device/tiles.h"

namespace fse {

// What a tile of the matrix products takes, for the order in which a search tries them. The form
// is what bounds the kernel, the constants are of an H100 and rough: on 34 partly searched spaces
// of it (Qwen3-Next, bf16 and fp8_block128, 1 to 16 tokens) the rank correlation with what was
// measured is 0.72 in the mean, and a tile within 2 % of the best is among the first 6 in most.
double predicted_stream_us(int op, gpu::StreamTile, gpu::Shape, gpu::Sizes, gpu::Limits);
double predicted_plain_us(int op, gpu::PlainTile, gpu::Shape, gpu::Sizes, gpu::Limits);

}  // namespace fse
