#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace fse {

struct ExplainOptions {
  std::string id;                      // of a case, or how it begins
  std::filesystem::path db;            // a measured one; empty: one of the sweep
  std::string sweep;                   // a simulated one
  std::vector<std::string> overrides;  // of the sweep
  std::string model;                   // of configs/devices; empty: the one that fits the device
  bool json = false;
};

// Prints where the case's layer time goes. 1 where the time is impossible, else 0.
int explain_case(const ExplainOptions&);

}  // namespace fse
