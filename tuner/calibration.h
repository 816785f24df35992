#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/device_model.h"
#include "core/statistics.h"
#include "kernels/microbench.h"
#include "tuner/workbench.h"

namespace fse {

// A number of a device model as it was measured: a median with its 95 % interval (n >= 6), or as
// the device says it (n = 0).
struct CalibratedValue {
  std::string field;  // of device_fields()
  Summary value;
  std::string how;  // what was measured
  std::string kind = "measured";
};

// A dense or grouped product [tokens, n, k] of the device's own kernels at their default tiles.
struct MatrixPoint {
  std::string op;
  int tokens = 0, n = 0, k = 0;
  Summary us, tflops;
};

struct Calibration {
  std::vector<CalibratedValue> values;
  std::vector<BandwidthPoint> reads;
  std::vector<MatrixPoint> matrix;
  double register_tflops = 0;      // what the matrix units do out of registers
  std::vector<std::string> notes;  // what could not be measured, and what stands in its place

  const CalibratedValue* find(const std::string& field) const;
};

struct CalibrationSpec {
  int repeats = 11;                               // of every microbenchmark
  double matrix_seconds = 40;                     // no new product begins after that
  std::vector<int> hidden, intermediate, tokens;  // of the products; empty: by the kind of device
};

// Everything but the matrix products, and what the device itself says.
Calibration calibrate_memory(Microbench&, const DeviceInfo&, double peak_gflops,
                             const CalibrationSpec&);
// Adds the products, and the shares of the peak that they reach.
void calibrate_matrix(Workbench&, const CalibrationSpec&, Calibration&);

}  // namespace fse
