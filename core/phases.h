#pragma once
#include <vector>

#include "core/plan.h"

namespace fse {

// Steps that run one after the other on some of the threads.
struct Lane {
  std::vector<int> steps;
  int threads = 0;
};
// Lanes that run at the same time; all threads meet at the end.
using Phase = std::vector<Lane>;

// How a cpu runs a plan's streams: one phase of one lane, unless streams overlap and there are
// threads to share out. Then what comes before the overlapped stream, if anything, both streams
// side by side, and what comes after they join.
std::vector<Phase> make_phases(const LayerPlan&, int threads);

}  // namespace fse
