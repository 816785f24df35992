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
// How much the medians of layers raced against themselves differ at most; NaN where none was.
double aa_floor(const LayerDispatch&);

// One step of a variant: what was tried for it by token count and regime, and the table of that;
// where the step was not tuned, what the layer ran. Choices are "KERNEL TILE".
struct StepDispatch {
  std::string step;
  DispatchSamples tiles;
  DispatchTable table;
};
// From the layers of one regime ("" = any) that a row was made from, for token counts up to
// `most_tokens`: a row begins where the tile before it can no longer run, if not sooner. In the
// order of the variant's steps.
struct StepQuery {
  std::string routing;
  DispatchRow row;
  int most_tokens = 0;
  double most_regret = 0.02;
  bool by_routing = true;  // see build_dispatch()
};
std::vector<StepDispatch> dispatch_steps(const Store&, const LayerDispatch&, const StepQuery&);

}  // namespace fse
