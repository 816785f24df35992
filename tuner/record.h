#pragma once
#include <functional>
#include <span>

#include "tuner/recorded_step.h"
#include "tuner/workbench.h"

namespace fse {

struct RecordSpec {
  int most_tiles = 2000;  // of a step; where it has more, the default and a sample by seed
  double seconds = 0;     // of a step; 0: until all are measured
  int samples = 7;        // at least 6, below which no 95 % interval of a median exists
  uint64_t seed = 1;
  std::function<bool()> stop = [] { return false; };
};

// Every tile of a step that is legal and fits, verified and timed, failures among them: what a
// search would have to choose from. Throws Error(incomplete) when stopped.
std::vector<RecordedTile> record_tiles(StepRunner&, std::span<const Choice> all, const RecordSpec&);

}  // namespace fse
