#pragma once
#include <functional>

#include "core/statistics.h"

namespace fse {

// What calibration calculates with: medians with their intervals.

Summary told(double value);  // by the device or a data sheet: no samples, n = 0
// The median of so many measurements, behind one that is not counted.
Summary repeated(int repeats, const std::function<double()>& measure);
Summary scaled(Summary, double factor);
Summary shifted(Summary, double by);
// Independent: the half widths' squares add. Not below 0: both are times.
Summary difference(const Summary&, const Summary&);
Summary at_least_0(const Summary&);
Summary sum(const Summary&, const Summary&);

}  // namespace fse
