#include "tuner/calibration_values.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace fse {

Summary told(double value) {
  return {.median = value, .lo = value, .hi = value, .n = 0};
}

Summary repeated(int repeats, const std::function<double()>& measure) {
  std::vector<double> samples;
  measure();  // the first one raises clocks and loads what is loaded lazily
  for (int i = 0; i < repeats; ++i) samples.push_back(measure());
  return summarize(samples);
}

Summary scaled(Summary s, double factor) {
  return {.median = s.median * factor, .lo = s.lo * factor, .hi = s.hi * factor, .n = s.n};
}

Summary shifted(Summary s, double by) {
  return {.median = s.median + by, .lo = s.lo + by, .hi = s.hi + by, .n = s.n};
}

Summary difference(const Summary& a, const Summary& b) {
  const double middle = std::max(0.0, a.median - b.median);
  const double below = std::hypot(a.median - a.lo, b.hi - b.median);
  const double above = std::hypot(a.hi - a.median, b.median - b.lo);
  return {.median = middle,
          .lo = std::max(0.0, middle - below),
          .hi = middle + above,
          .n = std::min(a.n, b.n)};
}

Summary at_least_0(const Summary& s) {
  return {.median = std::max(0.0, s.median),
          .lo = std::max(0.0, s.lo),
          .hi = std::max(0.0, s.hi),
          .n = s.n};
}

Summary sum(const Summary& a, const Summary& b) {
  const double middle = a.median + b.median;
  return {.median = middle,
          .lo = middle - std::hypot(a.median - a.lo, b.median - b.lo),
          .hi = middle + std::hypot(a.hi - a.median, b.hi - b.median),
          .n = std::min(a.n, b.n)};
}

}  // namespace fse
