#pragma once
#include <span>

#include "kernels/device/machine.h"

namespace fse {

// One matrix instruction of a whole wave, on the registers of its lanes. Products of 16-bit values
// are exact in f32; they are added one after the other in the order of k.
void multiply(gpu::host::MatrixForm, gpu::host::MatrixElement,
              std::span<gpu::host::Matrix* const> lanes);

}  // namespace fse
