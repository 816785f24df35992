#pragma once
#include <optional>

#include "kernels/catalog.h"
#include "kernels/jit.h"

namespace fse {

// What is compiled for a choice; nothing for a kernel that is not compiled at run time, or a tile
// of the vendor's library that needs nothing besides it.
std::optional<JitRequest> instance_of(const Choice&, const LayerPlan&, const Step&);

}  // namespace fse
