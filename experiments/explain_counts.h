#pragma once
#include <string>
#include <vector>

#include "core/plan.h"
#include "core/store.h"

namespace fse {

// What the emulator counted of a measured step: the same step, kernel, tile and architecture.
struct StepCounts {
  std::string step;
  double declared_bytes = 0, loaded_bytes = 0, stored_bytes = 0;
  double declared_flops = 0, matrix_flops = 0;
  double conflict_share = 0, divergent_share = 0;  // of LDS cycles, of waves' accesses
};

// Those of the steps that the database has counters for, the newest.
std::vector<StepCounts> counts_of(const Store&, const LayerPlan&, const AttemptRecord& layer,
                                  const std::string& arch);
std::string to_markdown(const std::vector<StepCounts>&);

}  // namespace fse
