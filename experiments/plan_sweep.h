#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace fse {

struct PlanOptions {
  std::filesystem::path sweep;
  std::vector<std::string> overrides;  // key=value
  bool steps = false;                  // every step of every plan, not only a line per variant
};

// Prints what `run` would do: cases, launches, bytes, what is refused and why, memory and time.
// Allocates no weights and runs no layer; it only measures the device's read bandwidth and
// arithmetic rate, from which the times follow.
void plan_sweep(const PlanOptions&);

}  // namespace fse
