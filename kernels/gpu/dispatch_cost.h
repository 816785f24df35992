#pragma once
#include "kernels/device/tiles.h"

namespace fse {

// What a tile of dispatch takes, for the order in which a search tries them. Rough constants of an
// H100, from its 60 tiles at 4 tokens and a few at 1 to 1024.
double predicted_dispatch_us(gpu::DispatchTile, gpu::Sizes, gpu::Limits);

}  // namespace fse
