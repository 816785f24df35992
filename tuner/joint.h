#pragma once
#include <functional>
#include <span>
#include <vector>

#include "core/store.h"
#include "tuner/measure.h"
#include "tuner/tune.h"

namespace fse {

// Another tile for one step of a layer whose other steps keep theirs.
struct Alternative {
  size_t step = 0;
  Choice choice;
};

// What came close to the winners of a plan's steps, `choices`, each timed alone: within 5 % of the
// winner, the closest of the longest steps first, at most `most` of them.
std::vector<Alternative> close_alternatives(const LayerPlan&, std::span<const Choice> choices,
                                            const DeviceInfo&, const Ledger&, const TuneSpec&,
                                            size_t most);

struct JointResult {
  std::vector<Choice> choices;     // of the layer that won
  std::vector<JointTrial> trials;  // every layer that was measured, against the first
};

// The best steps need not make the best layer: a step alone finds other things in the caches, and
// its threads awake. Whole layers with one alternative each run interleaved against the layer of
// winners; those whose ratio lies below 1 with its whole 95 % interval go together into one layer,
// which has to win once more, in rounds of its own. Throws what measure_layers() does; a layer that
// fails is out.
JointResult search_jointly(LayerRunner&, const LayerPlan&, std::vector<Choice> choices,
                           std::span<const Alternative>, uint64_t seed, double max_seconds,
                           const std::function<bool()>& stop);

}  // namespace fse
