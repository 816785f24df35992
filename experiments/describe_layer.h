#pragma once
#include <vector>

#include "experiments/layer_race.h"

namespace fse {

// What was measured of a layer, as it is stored: work and floors on the realised loads, steps,
// load.
AttemptRecord describe(const RunContext&, const Entry&, const LayerMeasurement&,
                       const std::vector<Load>&, AttemptRecord);

}  // namespace fse
