#pragma once
#include <optional>
#include <string>
#include <vector>

#include "tuner/tune.h"

namespace fse {

// What won before, for another study in the same database, and who says so: it competes again,
// whatever else a search finds. Nothing where nobody did, or where what won then is no candidate
// now.
struct StepIncumbent {
  Choice choice;
  std::string name;  // "the winner of study nightly, 2026-11-25"
};
std::optional<StepIncumbent> step_incumbent(const LayerPlan&, const Step&, const DeviceInfo&,
                                            const Ledger&, const TuneSpec&);

// A way to execute all steps of a plan.
struct Combination {
  std::string name;
  std::vector<Choice> choices;
};
std::optional<Combination> layer_incumbent(const LayerPlan&, const std::string& case_id,
                                           const DeviceInfo&, const Ledger&, const TuneSpec&);

}  // namespace fse
