#pragma once
#include <string>
#include <vector>

#include "core/filter.h"
#include "core/store.h"
#include "tuner/dispatch.h"

namespace fse {

// What a dispatch table is made from, as a database has it.

// A layer that was measured and is right: the newest of its case and environment.
struct DispatchLayer {
  Case spec;
  AttemptRecord attempt;
};

// Layers that differ in variant, token count, routing and seed only, in one environment.
struct LayerDispatch {
  int64_t environment = 0;
  std::vector<DispatchLayer> layers;
  DispatchSamples variants;  // choices are Variant labels
  const Case& spec() const { return layers.front().spec; }
};
std::vector<LayerDispatch> load_layers(const Store&, const Filter&);

// What was tried for one step of a variant, by token count and regime; where the step was not
// tuned, what the layer ran. Choices are "KERNEL TILE".
struct StepDispatch {
  std::string step;
  DispatchSamples tiles;
};
// From the layers of `part` between two token counts: a row's. In the order of the variant's steps.
std::vector<StepDispatch> load_steps(const Store&, const LayerDispatch&, const std::string& routing,
                                     const DispatchRow& row);

}  // namespace fse
