#pragma once
#include <array>
#include <string>

#include "core/plan.h"
#include "kernels/device/tiles.h"

namespace fse {

// A plan in the words of device code; see kernels/device/args.h.
gpu::Shape gpu_shape(const LayerPlan&);
gpu::Sizes gpu_sizes(const LayerPlan&, const Step&);
gpu::Routing gpu_routing(const LayerPlan&);
gpu::Limits gpu_limits(const DeviceInfo&);
// What a step's launch is given, but for the weights and the barriers: pointers to the plan's
// buffers, by Buf, nullptr where the plan has none.
using BufferPointers = std::array<void*, kBufCount>;
gpu::Args gpu_args(const LayerPlan&, const Step&, const BufferPointers&);
std::string to_text(const gpu::Shape&);  // "fse::gpu::Shape{0,2048,512,512}"

// A typical device of an architecture, "hip:0": what plans and tiles are checked against where no
// device is at hand. A real one replaces the counts and sizes with what it reports. Throws
// Error(usage) for an architecture without an entry, naming those that have one.
DeviceInfo typical_gpu(const std::string& arch);

// The last-level cache in bytes. AMD reports the L2 of one die, and never the memory-side cache
// behind it: those are entries of a table. `reported_l2` is right elsewhere.
int64_t gpu_llc_bytes(const std::string& arch, int64_t reported_l2);

}  // namespace fse
