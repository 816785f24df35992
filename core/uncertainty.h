#pragma once
#include <functional>

#include "core/device_model.h"
#include "core/prediction_error.h"
#include "core/serving_model.h"

namespace fse {

// By how much a figure moves when the device's uncertain numbers do: each alone by the half width
// of its own 90 % interval; the moves are independent, so their squares add.
double spread_of(const DeviceModel&, const std::function<double(const DeviceModel&)>& figure);

// How one number of the device moves a figure: at the low and at the high end of its own interval.
struct Sensitivity {
  std::string_view name, unit;
  double value = 0, low = 0, high = 0;  // the number, and the figure at its two ends
};
// Of every uncertain number, the one that moves the figure most first: a tornado table.
std::vector<Sensitivity> sensitivities(const DeviceModel&,
                                       const std::function<double(const DeviceModel&)>& figure);

// 90 % intervals of what is predicted for a case, and for its gain over a baseline, in percent.
// They widen what spread_of() says by what no number of the device explains.
Interval time_interval(const DeviceModel&, const std::function<double(const DeviceModel&)>& us);
Interval output_interval(const ServingCase&, const DeviceModel&, const FrameworkModel&,
                         double output_tok_s);
Interval gain_interval(const ServingCase&, const ServingCase& base, const DeviceModel&,
                       const FrameworkModel&, double gain);

// Of output tokens per second, in percent.
double gain_percent(const ServingTimes&, const ServingTimes& base);

}  // namespace fse
