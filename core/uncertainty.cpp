#include "core/uncertainty.h"

#include <cmath>

namespace fse {
namespace {

constexpr double kUnexplainedTime = 0.08;  // of a kernel's time: its tile, its code
constexpr double kUnexplainedRate = 0.04;  // of a throughput
constexpr double kUnexplainedGain = 2;     // percentage points of a gain
constexpr double kHostSpread = 0.2;        // of the framework's time per step

FrameworkModel slower_host(FrameworkModel framework) {
  framework.host_us *= 1 + kHostSpread;
  return framework;
}

}  // namespace

double spread_of(const DeviceModel& device,
                 const std::function<double(const DeviceModel&)>& figure) {
  const double centre = figure(device);
  double squares = 0;
  for (const DeviceField& field : device_fields()) {
    if (field.spread == 0) continue;
    DeviceModel moved = device;
    moved.*field.value *= 1 + field.spread;
    const double change = figure(moved) - centre;
    squares += change * change;
  }
  return std::sqrt(squares);
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
  const double share = std::hypot(spread_of(device, ms) / centre, host / centre, kUnexplainedRate);
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
  const double half = std::hypot(spread, host, kUnexplainedGain);
  return {gain - half, gain + half};
}

double gain_percent(const ServingTimes& times, const ServingTimes& base) {
  return (times.output_tok_s / base.output_tok_s - 1) * 100;
}

}  // namespace fse
