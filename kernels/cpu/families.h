#pragma once
#include <fmt/format.h>

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

// An axis `threads`: how many of the device's share out the step (Team::first); 0: all there are.
inline Axis threads_axis() {
  return {"threads", {0, 1, 2, 4, 8, 16, 32, 64}};
}
inline std::string threads_fit(const Tile& tile, const LayerPlan&, const Step&,
                               const DeviceInfo& device) {
  const int threads = tile.at("threads");
  if (threads <= 1 || threads < device.compute_units) return "";
  return fmt::format("threads={}: expected less than the device's {}, or 0 for all", threads,
                     device.compute_units);
}

}  // namespace fse
