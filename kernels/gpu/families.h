#pragma once
#include <vector>

#include "kernels/catalog.h"

namespace fse {

// The catalogue's rows for GPUs, by family. They are there without any GPU toolkit: what they name
// is compiled at run time. Legality and geometry are device/tiles.h's; here they are translated.
std::vector<KernelDef> gpu_matrix_kernels();   // the five matrix products: stream, plain
std::vector<KernelDef> gpu_routing_kernels();  // topk, score, select, dispatch
std::vector<KernelDef> gpu_row_kernels();      // a few operations per row
std::vector<KernelDef> gpu_layer_kernels();    // the layer in one launch

// "fse::gpu::TopkTile{0,4}"
std::string gpu_tile_text(const char* type, const Tile&);

// The tiles of two axes.
template <class T>
T gpu_tile(const Tile& tile) {
  return {tile.axes.at(0).second, tile.axes.at(1).second};
}

}  // namespace fse
