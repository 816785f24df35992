#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/device_model.h"
#include "core/op.h"
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

// A whole layer, one way to run it. early: how many of its launches begin while their predecessors
// end: where that is faster, as a search finds it, and once none.
struct LayerPoint {
  DType dtype = DType::bf16;
  Variant variant;
  int tokens = 0, experts = 0;
  int early = 0;
  Summary us;
  Load load;           // what its router chose
  double busy_us = 0;  // its bytes and matrix work, by the cost model
};

struct Calibration {
  std::vector<CalibratedValue> values;
  std::vector<BandwidthPoint> reads;
  std::vector<MatrixPoint> matrix;
  std::vector<LayerPoint> layers;
  double register_tflops = 0;      // what the matrix units do out of registers
  std::vector<std::string> notes;  // what could not be measured, and what stands in its place

  const CalibratedValue* find(const std::string& field) const;
  void set(CalibratedValue);  // in place of what was there
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
// Adds a small layer's ways to run, and what its steps take in line beyond bytes and launches: two
// ways differ in few steps, and what those take is the difference. Of a layer of 128 experts (and
// 512), 8 of which are chosen; shape and routing are the calibration's own, whatever layers are
// predicted.
void calibrate_layers(Workbench&, const CalibrationSpec&, Calibration&);
// The same from times that are there already.
void derive_steps(const DeviceInfo&, const CalibrationSpec&, Calibration&);
// The numbers so far as a model of the device.
DeviceModel model_of(const Calibration&, const DeviceInfo&);

}  // namespace fse
