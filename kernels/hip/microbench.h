#pragma once
#include <memory>

#include "kernels/hip/device.h"
#include "kernels/microbench.h"

namespace fse {

std::unique_ptr<Microbench> open_hip_microbench(std::shared_ptr<HipDevice>);

}  // namespace fse
