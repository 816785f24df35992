#pragma once
#include <functional>
#include <optional>

#include "core/store.h"
#include "tuner/choice_space.h"
#include "tuner/tune_spec.h"
#include "tuner/workbench.h"

namespace fse {

// Where attempts are written: each as `running` before it starts, closed after.
struct Ledger {
  Store& store;
  int64_t study = 0;
  int64_t environment = 0;
  std::string workload;  // routing, cache and seed, as part of every key
  Rotation rotation;     // of the weights
  Cache cache = Cache::cold_weights;
  double read_gbs = 0, peak_gflops = 0;  // the device's ceilings
  double sourced_gbs = 0;                // what its datasheet says that it reads; 0: not known

  // The least time of some work. What lies in caches does not come from memory: no floor for it is
  // measured, and the arithmetic alone is left.
  double floor_us(const Work&) const;
};

// What a search may be asked between two attempts.
struct TuneControl {
  std::function<bool()> stop = [] { return false; };  // Ctrl-C: end after the attempt at hand
  std::function<void(const AttemptRecord&)> progress = [](const AttemptRecord&) {};
  // Measures the device's ceilings once more and keeps the larger values in the ledger.
  std::function<void()> raise_ceilings = [] {};
  uint64_t seed = 1;
};

// The winner that this study already found for the step, workload and environment, if any.
std::optional<Choice> recorded_choice(const LayerPlan&, const Step&, const DeviceInfo&,
                                      const Ledger&, const TuneSpec&);

// The fastest verified choice for one step. Finished attempts of an interrupted search are not
// repeated. Screening: each candidate is verified, then timed a few times, and dropped early at
// three times the best. Finals: the best few, the default, what won for an earlier study and the
// vendor's library in interleaved rounds, judged by best_finalist(). What is suspect is kept and
// never wins. Throws
// Error(incomplete) when stopped, and AttemptError when not even the default tile is right, or the
// device is lost.
Choice tune_step(StepRunner&, const LayerPlan&, const Step&, const DeviceInfo&, const TuneSpec&,
                 const Ledger&, const TuneControl&);

}  // namespace fse
