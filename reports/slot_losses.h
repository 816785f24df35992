#pragma once
#include <string>
#include <vector>

#include "reports/labels.h"

namespace fse {

// What one variant does with a step, and another.
struct StepChange {
  std::string step;
  double other_us = 0, us = 0, change_us = 0;  // 0 where a variant has no such step
};

// The account of a change in layer time: every step of either layer, what costs more first and what
// saves most last, then what no step accounts for, launches and waits. It adds up to the difference
// of the layers' medians.
std::vector<StepChange> account_for(const AttemptRecord& layer, const AttemptRecord& other);

// Where the slot is not the fastest way to run the shared expert, by how much, and which steps cost
// it: a chapter. "" where no workload was measured in both ways.
std::string slot_losses_section(const ReportData&, const Varying&);

}  // namespace fse
