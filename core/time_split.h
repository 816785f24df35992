#pragma once
#include <string>
#include <vector>

#include "core/layer_cost.h"
#include "core/prediction_error.h"

namespace fse {

// Where a layer's time goes: what its bytes, its matrix work and its launches take on a device by
// the cost model, and what of the time that leaves.
struct TimeSplit {
  double total_us = 0;
  double weights_us = 0, activations_us = 0;  // at the device's rates
  double math_us = 0;                         // matrix work that the memory does not hide
  double launches_us = 0;
  double imbalance_us = 0;  // rows that do not fill the matrix unit's columns
  double tail_us = 0;       // memory not kept busy: few workgroups, filling and emptying tiles
  double streams_us = 0;    // of two streams: what they hide (negative), less what they cost
  double residual_us = 0;   // what none of it explains
  double predicted_us = 0;  // all but the residual
  Interval interval;        // of what is predicted
  double floor_us = 0;      // what the bytes or the matrix work take at the device's peaks
  std::string impossible;   // why the time cannot be right, or the device's numbers cannot
  std::vector<StepCost> steps;
};

// `total` is what was measured, with its interval; {us, us, us} where it was simulated. Weights lie
// in the last-level cache where `warm`.
TimeSplit split_time(const LayerPlan&, const DeviceModel&, const BatchLoad&, double total_us,
                     const Interval& total, bool warm = false);

}  // namespace fse
