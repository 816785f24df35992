#pragma once
#include <string>
#include <vector>

#include "core/plan.h"
#include "core/store.h"

namespace fse {

// What the emulator counted of a measured step: the same step, kernel, tile and architecture.
struct StepCounts {
  std::string step;
  CountRecord count;
};

// Those of the steps that the database has counters for, the newest.
std::vector<StepCounts> counts_of(const Store&, const LayerPlan&, const AttemptRecord& layer,
                                  const std::string& arch);
std::string to_markdown(const std::vector<StepCounts>&);

}  // namespace fse
