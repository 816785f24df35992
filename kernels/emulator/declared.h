#pragma once
#include <string>

#include "core/kernel_counters.h"
#include "core/op.h"
#include "kernels/catalog.h"

namespace fse {

// Why a launch does not do what its op declares, given how its kernel goes over weights by design
// ("" = it does): weights that are read again or not at all, matrix work that is missing or that no
// tile's padding explains, results that are stored more than once, activations that an op without
// weights reads more often than its algorithm does.
std::string why_not_as_declared(const KernelCounters&, const LayerPlan&, const Step&, const Choice&,
                                const DeviceInfo&, const Load&);

}  // namespace fse
