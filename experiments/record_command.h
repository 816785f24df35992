#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace fse {

struct RecordOptions {
  std::string sweep;  // a file, or a name in configs/sweeps
  std::vector<std::string> overrides, deadlines;
  std::filesystem::path out;       // a folder, made where missing
  std::vector<std::string> steps;  // only those of these names; empty: all
  int most_tiles = 2000;
  double seconds = 0;        // of a step; 0: no limit
  double total_seconds = 0;  // of all steps; 0: no limit
};

// Measures every tile of every distinct step of a sweep's cases, into one file for each step:
// OUT/ARCH_STEP_HASH.jsonl.gz. Tiles that a file has are not measured again: the same command
// resumes, and exit code 4 says that there is more to do.
int record_sweep(const RecordOptions&);

}  // namespace fse
