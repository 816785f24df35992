#pragma once
#include <array>
#include <string>
#include <vector>

#include "core/device_model.h"
#include "core/op.h"
#include "core/plan.h"
#include "core/routing_model.h"

namespace fse {

inline constexpr int kCalibratedExperts = 128;  // of the layer that devices are calibrated with

// What one step of a plan takes on a device, in parts that add up to its time. start and end:
// within the layer, by the steps it waits for and the stream it runs on.
struct StepCost {
  std::string name;
  double launch_us = 0;   // to begin: its launch and ramp, or the blocks' waiting for each other
  double weights_us = 0;  // weights at the memory's rate
  double activations_us = 0;  // what passes from step to step, from the last-level cache if it fits
  double tail_us = 0;         // memory not kept busy: few workgroups, filling and emptying tiles
  double math_us = 0;         // matrix work and widening of fp8 beyond all that
  double imbalance_us = 0;    // rows of experts that do not fill the matrix unit's columns
  double start_us = 0, end_us = 0;

  double memory_us() const { return weights_us + activations_us; }
  double busy_us() const { return memory_us() + tail_us + math_us + imbalance_us; }
};

// The rows of a batch as kernels meet them. blocks: sum over experts of ceil(rows / columns), for
// the columns of a matrix unit's step.
struct BatchLoad {
  Load load;
  double blocks = 0;
};
// As many experts as are expected to be chosen, each with its even part, and every slot with every
// row.
BatchLoad expected_batch(const LayerPlan&, const DeviceModel&, const RoutingPrior&);
BatchLoad realised_batch(const DeviceModel&, const Load&);

// The second interpreter of a plan: its ops' own bytes and flops at the device's rates, weights
// from memory. No step is faster than its bytes at peak_gbs.
std::vector<StepCost> layer_cost(const LayerPlan&, const DeviceModel&, const BatchLoad&);
std::vector<StepCost> layer_cost(const LayerPlan&, const DeviceModel&, const RoutingPrior&);
double layer_us(const LayerPlan&, const DeviceModel&, const RoutingPrior&);
// When the last step ends.
double end_us(const std::vector<StepCost>&);

}  // namespace fse
