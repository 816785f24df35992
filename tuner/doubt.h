#pragma once
#include "tuner/tune.h"

namespace fse {

// Bytes of a step that must come from memory, at least: what the caches may hold when it starts
// does not count. Under cold_weights that is every activation, under cold_all what it writes.
double memory_bytes(const LayerPlan&, const Step&, double bytes, Cache);

// Makes a measured attempt at a step suspect where suspicion() says so, its samples kept. A step
// that reads faster than memory does is blamed only once the ceiling was measured again, by
// control.raise_ceilings(): whatever else runs on the machine can only make it look lower than it
// is.
void doubt(AttemptRecord&, const LayerPlan&, const Step&, const Ledger&, const TuneControl&);

}  // namespace fse
