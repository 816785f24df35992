#pragma once
#include <string>

#include "tuner/calibration.h"

namespace fse {

struct CalibrateOptions {
  std::string device = "auto";
  int repeats = 11;
  double matrix_seconds = 40;
  bool quick = false;  // the smallest product only
};

// Measures the device and prints its model as a file of configs/devices.
void calibrate_device(const CalibrateOptions&);

// The file itself; `about` stands in its head, `date` beside every number.
std::string to_yaml(const Calibration&, const DeviceInfo&, const std::string& about,
                    const std::string& date);

}  // namespace fse
