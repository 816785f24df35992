#pragma once
#include <memory>
#include <vector>

#include "experiments/workload_group.h"
#include "tuner/joint.h"

namespace fse {

// One case on its way through its group, tuned and found right.
struct Entry {
  const CaseRecord* record = nullptr;
  LayerPlan plan;
  std::unique_ptr<LayerRunner> layer;
  std::vector<Choice> choices;
  JointResult joint;
  LayerCheck check;
};

// Measures the layers in interleaved rounds, the first of them once more as a control; then the
// fastest and its baseline in a fresh process, where the device has one. Closes every case.
void race_layers(RunContext&, std::vector<std::unique_ptr<Entry>>);

// Measures the device's read bandwidth and peak rate once more, and keeps the larger values:
// whatever else runs on it can only make a ceiling look lower than it is.
void raise_ceilings(RunContext&);

// A layer attempt of a case, with what all of them share.
AttemptRecord layer_attempt(const RunContext&, const Case&);
void close_case(const RunContext&, const Case&, const AttemptRecord&);
std::string label(const Case&);  // for people: model, dtype, tokens, variant

}  // namespace fse
