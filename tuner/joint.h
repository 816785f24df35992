#pragma once
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "core/store.h"
#include "tuner/incumbent.h"
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
  // What to measure at last, the best first; the next one wherever the one before it is not right
  // as a whole. The layer of the steps' winners is the last.
  std::vector<Combination> best_first;
  std::vector<JointTrial> trials;  // every layer that was measured, against that of the winners
};

// The best steps need not make the best layer; a step alone finds other things in the caches, and
// its threads awake. Whole layers with one alternative each, and the incumbent of an earlier study,
// run interleaved against the layer of winners. The alternatives whose ratio lies below 1 with its
// whole 95 % interval go together into one layer; that one and the incumbent have to win once more,
// in rounds of their own. Throws what measure_layers() does; a layer that fails is out.
JointResult search_jointly(LayerRunner&, const LayerPlan&, std::vector<Choice> winners,
                           std::span<const Alternative>, std::optional<Combination> incumbent,
                           uint64_t seed, double max_seconds, const std::function<bool()>& stop);

// The combination is what is measured at last: the trials that it has are marked as taken.
void take(JointResult&, const LayerPlan&, const Combination&);
// It is not right, or cannot be run: kept as a trial that ended so.
void reject(JointResult&, const Combination&, const Outcome&);

}  // namespace fse
