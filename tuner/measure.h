#pragma once
#include "core/case.h"
#include "core/outcome.h"
#include "core/workload.h"
#include "kernels/backend.h"

namespace fse {

struct MeasureSpec {
  Cache cache = Cache::cold_weights;
  int min_rounds = 25;
  double interval = 0.02;   // stop when the 95 % interval is within +- this share of the median
  double max_seconds = 20;  // per layer; the interval reached is stored either way
};

// A workload made concrete: weight sets, and per round an input that routes as named.
struct Workload {
  std::vector<LayerWeights> sets;
  std::vector<std::vector<float>> inputs;  // one per round, cycled
  std::vector<Load> loads;                 // of each input, shared slots included
  int64_t rotation_shortfall = 0;  // bytes the rotation is short of twice the last-level cache
};

struct LayerMeasurement {
  std::vector<double> layer_us;              // per round
  std::vector<std::vector<double>> step_us;  // [step][round]
};

// Rounds until the interval is reached: round r runs input r and weight set r, both cycled.
LayerMeasurement measure_layer(Session&, const LayerPlan&, std::span<const Choice>, const Workload&,
                               const MeasureSpec&);

}  // namespace fse
