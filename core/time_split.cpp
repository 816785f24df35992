#include "core/time_split.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/kernel_cost.h"
#include "core/uncertainty.h"

namespace fse {
namespace {

// Weights at the memory's peak, or the matrix work at that of the matrix units.
double floor_of(const LayerPlan& plan, const DeviceModel& d, const BatchLoad& batch,
                const TimeSplit& split) {
  double flops = 0;
  for (const Step& step : plan.steps) flops += step_work(plan, step, batch.load).flops;
  return std::max(split.weights_us * d.read_gbs / std::max(d.peak_gbs, d.read_gbs),
                  flops / (std::max(peak_tflops(plan.layer, d), d.bf16_tflops) * 1e6));
}

std::string why_impossible(const TimeSplit& split, const Interval& total) {
  if (total.high < split.floor_us)
    return fmt::format(
        "impossible: {:.4g} us at most, but the weights at the memory's peak, or the matrix work "
        "at "
        "its own, take {:.4g} us",
        total.high, split.floor_us);
  if (total.high < split.interval.low)
    return fmt::format(
        "impossible residual: the parts take {:.4g} us at least, {:.4g} us more than was measured "
        "at most: a number of the device is wrong, or the layer did not do all its work",
        split.interval.low, split.interval.low - total.high);
  return "";
}

}  // namespace

TimeSplit split_time(const LayerPlan& plan, const DeviceModel& device, const BatchLoad& batch,
                     double total_us, const Interval& total, bool warm) {
  DeviceModel d = device;
  if (warm && d.llc_gbs > d.read_gbs) d.read_gbs = d.peak_gbs = d.llc_gbs;
  TimeSplit split{.total_us = total_us, .steps = layer_cost(plan, d, batch)};
  for (const StepCost& step : split.steps) {
    split.weights_us += step.weights_us;
    split.activations_us += step.activations_us;
    split.math_us += step.math_us;
    split.launches_us += step.launch_us;
    split.imbalance_us += step.imbalance_us;
    split.tail_us += step.tail_us;
    split.streams_us -= step.launch_us + step.busy_us();
  }
  split.predicted_us = end_us(split.steps);
  split.streams_us += split.predicted_us;
  if (std::abs(split.streams_us) < 1e-9 * split.predicted_us) split.streams_us = 0;
  split.residual_us = total_us - split.predicted_us;
  split.interval = time_interval(
      d, [&](const DeviceModel& moved) { return end_us(layer_cost(plan, moved, batch)); });
  split.floor_us = floor_of(plan, d, batch, split);
  const bool unknown_cache = warm && device.llc_gbs <= device.read_gbs;
  if (!unknown_cache) split.impossible = why_impossible(split, total);
  return split;
}

}  // namespace fse
