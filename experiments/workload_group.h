#pragma once
#include <vector>

#include "core/store.h"
#include "experiments/progress.h"
#include "tuner/measure.h"
#include "tuner/tune.h"
#include "tuner/workbench.h"

namespace fse {

// What every group of a run shares.
struct RunContext {
  Workbench& bench;
  Ledger ledger;
  const TuneSpec& tune;
  const MeasureSpec& measure;
  Progress& progress;
};

// The cases of a sweep that differ in their variant only: one layer, one workload. They see the
// same inputs, the same weights and the same reference, and are measured against each other.
struct WorkloadGroup {
  std::vector<CaseRecord> cases;
  Shard shard;
};

// "routing=uniform cache=cold_weights seed=1": what a step's time depends on besides its key. A
// trace is named by the hash of its bytes.
std::string workload_key(const Case&);

// Tunes every step of every case, verifies the layers, measures those that are right in interleaved
// rounds, and records all of it. A case that fails is recorded with its reason and the others go
// on. Throws Error(incomplete) when interrupted.
void run_group(RunContext&, const WorkloadGroup&);

// Records a case that cannot be measured, with its outcome and the layers that were tried for it.
void fail_case(const RunContext&, const Case&, Outcome, std::vector<JointTrial> = {});

// Why a group of plans cannot run in the device's memory, with both sizes; empty when it can. They
// share the weights and are all open while they are measured against each other.
std::string out_of_memory(std::span<const LayerPlan>, const DeviceInfo&, int sets);
std::string gigabytes(int64_t bytes);  // "3.22 GB"

}  // namespace fse
