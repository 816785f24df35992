#pragma once
#include <string>
#include <vector>

#include "core/op.h"
#include "experiments/sweep.h"
#include "kernels/backend.h"
#include "tuner/workload_sets.h"

namespace fse {

// What a device does per second at best, measured.
struct Rates {
  double read_gbs = 0, peak_gflops = 0;
};

struct StepEstimate {
  Work work;
  double floor_us = 0;
  int64_t tiles = 0;          // candidates of its search
  bool tuned_before = false;  // by an earlier case of the same workload
};

struct CaseEstimate {
  CaseRecord record;
  LayerPlan plan;                   // of a case that is not refused
  std::vector<StepEstimate> steps;  // parallel to plan.steps
  std::string out_of_memory;        // why it does not fit, with both sizes; empty where it does
  bool runs() const { return record.state != CaseState::refused && out_of_memory.empty(); }
  double bytes() const;
  double flops() const;
  double floor_us() const;
  int64_t tiles() const;  // candidates that are searched for this case and no earlier one
};

struct MemoryEstimate {
  int sets = 0;
  int64_t one_set_bytes = 0, weight_bytes = 0;  // one set; all sets of the rotation
  int64_t buffer_bytes = 0, reference_bytes = 0;
  int64_t total() const { return weight_bytes + buffer_bytes + reference_bytes; }
};

struct TimeEstimate {
  double prepare_s = 0, tune_s = 0, measure_s = 0;
  double total() const { return prepare_s + tune_s + measure_s; }
};

// The cases that share layer, shard and workload, in the order of the expansion.
struct WorkloadEstimate {
  std::vector<CaseEstimate> cases;
  MemoryEstimate memory;  // of the largest of its cases that run
  TimeEstimate time;      // of those
};

// Cases that follow each other and differ in their variant only, each such run one estimate.
std::vector<WorkloadEstimate> estimate(const SweepSpec&, const Expansion&, const DeviceInfo&,
                                       const Rates&);

}  // namespace fse
