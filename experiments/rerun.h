#pragma once
#include "core/store.h"
#include "reports/grid.h"

namespace fse {

// One attempt as its row has it, and as it is now, side by side.
struct Rerun {
  Grid grid;              // what, recorded, now
  bool same_end = false;  // measured again, or failed in the same way
};

// Runs a step's or a layer's attempt once more on the device its study names: weights, inputs and
// tiles of its row, as many rounds, verified first. The database is not written. Throws
// Error(usage) for an attempt that does not exist, did not end, or kept no tiles.
Rerun rerun_attempt(const Store&, int64_t attempt);

}  // namespace fse
