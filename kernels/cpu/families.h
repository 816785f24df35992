#pragma once
#include <string>
#include <vector>

#include "kernels/catalog.h"

namespace fse {

// The cpu rows of the catalogue, one function per source file; catalog.cpp joins them.
std::vector<KernelDef> cpu_routing_kernels();  // score, select, renormalize, ..., topk, dispatch
std::vector<KernelDef> cpu_sum_kernels();      // combine, shared_add
std::vector<KernelDef> cpu_stream_kernels();   // gate_gemm, stages 1 and 2, for few tokens
std::vector<KernelDef> cpu_block_kernels();    // the same for many tokens

// Parts that several rows use.
inline std::string always_legal(const Tile&) {
  return "";
}
inline std::string always_fits(const Tile&, const LayerPlan&, const Step&, const DeviceInfo&) {
  return "";
}

}  // namespace fse
