#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace fse {

// The 90 % interval that every prediction comes with.
struct Interval {
  double low = 0, high = 0;
  bool holds(double value) const { return low <= value && value <= high; }
};

// A time, a rate, or a gain in percent, beside what was measured.
struct Prediction {
  double predicted = 0, measured = 0;
  Interval interval;
};

// Absolute relative errors, in percent of what was measured.
struct ErrorSummary {
  int64_t n = 0;
  double mean = 0, median = 0, p90 = 0, worst = 0;  // mean is the MAPE
  double covered = 0;                               // percent of intervals that hold the truth
};
ErrorSummary summarize_errors(std::span<const Prediction>);

// Gains between two variants in percent; errors in percentage points.
struct GainSummary {
  int64_t n = 0;
  double mean = 0, worst = 0;
  int64_t decided = 0;      // gains of more than 2 %, either way: those whose sign matters
  double sign_right = 0;    // percent of them
  double covered = 0;       // percent of intervals that hold the truth
  double no_gain = 0;       // mean error of predicting 0
  double nearest_gain = 0;  // mean error of predicting the nearest known gain; NaN: none is known
};
// `nearest`: what that baseline predicts for each gain; empty where no gain is known.
GainSummary summarize_gains(std::span<const Prediction>, std::span<const double> nearest);

}  // namespace fse
