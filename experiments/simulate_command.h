#pragma once
#include <string>
#include <vector>

namespace fse {

struct SimulateOptions {
  std::string sweep;                   // a file, or a name of configs/sweeps
  std::vector<std::string> overrides;  // device=mi355x names a file of configs/devices
  std::vector<std::string> what_if;    // changes, as core/what_if.h reads them
  bool json = false;
  bool sensitivity = false;  // also what moves the gain of each row, most first
};

// device=mi355x is short for device=sim:mi355x: nothing else can be simulated.
std::vector<std::string> named_device(std::vector<std::string> overrides);

// Prints one row per model, tp, workload and variant, the gain against the sweep's baseline.
void simulate_sweep(const SimulateOptions&);

}  // namespace fse
