#pragma once
#include <string>
#include <vector>

#include "core/device_model.h"
#include "core/plan.h"
#include "core/routing_model.h"

namespace fse {

// What one step of a plan takes on a device: launched, then the longer of its bytes and its matrix
// work. start and end: within the layer, by the steps it waits for and the stream it runs on.
struct StepCost {
  std::string name;
  double launch_us = 0, memory_us = 0, math_us = 0;
  double start_us = 0, end_us = 0;
};

// The second interpreter of a plan: its ops' own bytes and flops at the device's rates, weights
// from memory, experts' rows padded to the best of a kernel's tiles. No step is faster than its
// bytes at peak_gbs.
std::vector<StepCost> layer_cost(const LayerPlan&, const DeviceModel&, const RoutingPrior&);
double layer_us(const LayerPlan&, const DeviceModel&, const RoutingPrior&);

}  // namespace fse
