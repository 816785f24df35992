#pragma once
#include <memory>

#include "core/device.h"
#include "kernels/microbench.h"

namespace fse {

// A workgroup is a thread, and a launch the barrier that a step of a team ends with.
std::unique_ptr<Microbench> open_cpu_microbench(const DeviceInfo&);

}  // namespace fse
