#pragma once
#include <vector>

#include "kernels/catalog.h"
#include "tuner/search.h"
#include "tuner/tune_spec.h"

namespace fse {

// Every choice for a step: all kernels of its op, all tiles that are legal and fit and that the
// restrictions keep, the default first (it always competes).
std::vector<Choice> candidates(const LayerPlan&, const Step&, const DeviceInfo&,
                               const std::vector<TileRestriction>&);

// The axes of all kernels side by side, -1 where a kernel has no such axis: its tiles are each
// other's neighbours. With predictions where every kernel has a cost model.
SearchSpace space_of(const std::vector<Choice>&, const LayerPlan&, const Step&, const DeviceInfo&);

}  // namespace fse
