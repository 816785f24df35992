#pragma once
#include <functional>

#include "tuner/workbench.h"

namespace fse {

// Right or wrong, with what the kernel needs; no samples yet.
Outcome verified(StepRunner&, const Choice&);

// The outcome with what its samples say: suspect where one is not a time above 0.
Outcome judged(Outcome);
// A ledger holds numbers: what is none is left to the reason.
void keep_finite(std::vector<double>& samples_us);

// What `work` comes to, however it ends.
struct Ended {
  Outcome outcome;
  bool device_lost = false;  // nothing more can be asked of it
};
Ended ended(const std::function<Outcome()>& work);

}  // namespace fse
