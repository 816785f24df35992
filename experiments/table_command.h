#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace fse {

struct TableOptions {
  std::filesystem::path table;         // of AITER's tuned_fmoe columns
  std::vector<std::string> overrides;  // device=NAME and nothing else
  std::vector<std::string> what_if;    // changes, as core/what_if.h reads them
  bool json = false;                   // one object per row
};

// Predicts every row of a table of tuned kernels on a device; prints its error and that of the sum.
void simulate_table(const TableOptions&);

}  // namespace fse
