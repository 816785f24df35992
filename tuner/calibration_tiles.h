#pragma once
#include <vector>

#include "tuner/workbench.h"

namespace fse {

// Tiles that calibration tries of a step's default kernel, in place of a search: the default and
// what changes most against it, launches that begin early, deeper rings, other splits, and of
// products of many tokens other blocks.
std::vector<Choice> calibration_choices(const LayerPlan&, size_t step, const DeviceInfo&);

// The fastest of them, alone; `at` as of default_choices(), with what is known of the steps before.
Choice fastest_choice(LayerRunner&, const LayerPlan&, size_t step, std::span<const Choice> at,
                      const DeviceInfo&);

}  // namespace fse
