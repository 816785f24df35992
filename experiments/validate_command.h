#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace fse {

struct ValidateOptions {
  std::filesystem::path
      folder;  // with splits.yaml, serving.yaml and tables; empty: the shipped one
  std::vector<std::string> what_if;  // changes, as core/what_if.h reads them
  bool rows = false;                 // also every row
  bool json = false;                 // one object per split
};

// Scores the simulator on published results, split by split, and prints how far it is off. Returns
// 1 where a split exceeds its limit, else 0.
int validate_simulator(const ValidateOptions&);

}  // namespace fse
