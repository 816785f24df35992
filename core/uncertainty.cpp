#include "core/uncertainty.h"

#include <algorithm>
#include <cmath>

namespace fse {
namespace {

// Half widths of 90 % intervals. What the fit rows leave unexplained: of a kernel's time, its tile
// and code; of a throughput; of a gain, 1.2 points rms. And what one run of a benchmark differs
// from the next, assumed.
constexpr double kUnexplainedTime = 0.08;
constexpr double kUnexplainedRate = 0.04;
constexpr double kUnexplainedGain = 2;  // percentage points
constexpr double kRunNoise = 0.015;     // of a throughput; a gain compares two runs
constexpr double kHostSpread = 0.2;     // of the framework's time per step

FrameworkModel slower_host(FrameworkModel framework) {
  framework.host_us *= 1 + kHostSpread;
  return framework;
}

bool is_hit(const ServingCase& c, const DeviceModel& device) {
  const int slots = c.variant.shared == Shared::slot ? measured_shard(c.layer, c.tp).slots : 0;
  return tuned_us(c.tuned, c.layer, measured_shard(c.layer, c.tp), device, c.prior, slots,
                  c.concurrency)
      .has_value();
}

// Percent of a decoding step in the experts' kernels.
double experts_percent(const ServingCase& c, const DeviceModel& device,
                       const FrameworkModel& framework) {
  double us = 0;
  for (const KernelTime& kernel : kernel_times(framework.kernels.moe, c, device, c.concurrency))
    if (kernel.name == "experts") us += kernel.us;
  const double step =
      step_us(c, device, framework, {.rows = c.concurrency, .sequences = c.concurrency});
  return 100 * us * (c.shape.layers - c.shape.dense_layers) / step;
}

// Where a table has one variant's shape and misses the other's, two unrelated kernels are compared,
// and what the model gets wrong of them does not cancel.
double unrelated_kernels(const ServingCase& c, const ServingCase& base, const DeviceModel& device,
                         const FrameworkModel& framework) {
  if (is_hit(c, device) == is_hit(base, device)) return 0;
  return kUnexplainedTime * std::hypot(experts_percent(c, device, framework),
                                       experts_percent(base, device, framework));
}

}  // namespace

double spread_of(const DeviceModel& device,
                 const std::function<double(const DeviceModel&)>& figure) {
  const double centre = figure(device);
  double squares = 0;
  for (const DeviceField& field : device_fields()) {
    if (field.spread == 0) continue;
    DeviceModel moved = device;
    moved.*field.value *= 1 + spread_of(device, field);
    const double change = figure(moved) - centre;
    squares += change * change;
  }
  return std::sqrt(squares);
}

std::vector<Sensitivity> sensitivities(const DeviceModel& device,
                                       const std::function<double(const DeviceModel&)>& figure) {
  std::vector<Sensitivity> all;
  for (const DeviceField& field : device_fields()) {
    if (field.spread == 0) continue;
    const auto moved = [&](double factor) {
      DeviceModel d = device;
      d.*field.value *= factor;
      return figure(d);
    };
    all.push_back({.name = field.name,
                   .unit = field.unit,
                   .value = device.*field.value,
                   .low = moved(1 - spread_of(device, field)),
                   .high = moved(1 + spread_of(device, field))});
  }
  std::stable_sort(all.begin(), all.end(), [](const Sensitivity& a, const Sensitivity& b) {
    return std::abs(a.high - a.low) > std::abs(b.high - b.low);
  });
  return all;
}

Interval time_interval(const DeviceModel& device,
                       const std::function<double(const DeviceModel&)>& us) {
  const double centre = us(device);
  const double half = std::hypot(spread_of(device, us), kUnexplainedTime * centre);
  return {centre - half, centre + half};
}

Interval output_interval(const ServingCase& c, const DeviceModel& device,
                         const FrameworkModel& framework, double output_tok_s) {
  const auto ms = [&](const DeviceModel& d) { return closed_form_ms(c, d, framework); };
  const double centre = ms(device);
  const double host = closed_form_ms(c, device, slower_host(framework)) - centre;
  const double share = std::hypot(spread_of(device, ms) / centre, host / centre,
                                  std::hypot(kUnexplainedRate, kRunNoise));
  return {output_tok_s * (1 - share), output_tok_s * (1 + share)};
}

Interval gain_interval(const ServingCase& c, const ServingCase& base, const DeviceModel& device,
                       const FrameworkModel& framework, double gain) {
  const auto closed = [&](const DeviceModel& d, const FrameworkModel& f) {
    return (closed_form_ms(base, d, f) / closed_form_ms(c, d, f) - 1) * 100;
  };
  const double spread =
      spread_of(device, [&](const DeviceModel& d) { return closed(d, framework); });
  const double host = closed(device, slower_host(framework)) - closed(device, framework);
  const double runs = std::sqrt(2.0) * kRunNoise * 100;
  const double half = std::hypot(std::hypot(spread, host), std::hypot(kUnexplainedGain, runs),
                                 unrelated_kernels(c, base, device, framework));
  return {gain - half, gain + half};
}

double gain_percent(const ServingTimes& times, const ServingTimes& base) {
  return (times.output_tok_s / base.output_tok_s - 1) * 100;
}

}  // namespace fse
