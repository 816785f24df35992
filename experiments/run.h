#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace fse {

struct RunOptions {
  std::filesystem::path sweep;
  std::vector<std::string> overrides;  // key=value
  std::filesystem::path db;
  bool quiet = false;                  // no progress, only the comparison
  bool in_process = false;             // kernels run in this process, not in a worker
  std::vector<std::string> deadlines;  // of the worker, STAGE=SECONDS
  std::string shard;                   // "2/8": the second of eight parts; empty: all
  std::string command;                 // as the user typed it, for the record
};

// Tunes, verifies, measures and records every legal case of a sweep, resuming what is unfinished,
// and ends with the comparison. Several processes may do so at once on one database: each case is
// run by one of them, and all end when all cases have. Returns the exit code: 0 complete, 1 a case
// failed, 4 interrupted. Throws Error for what keeps it from starting.
int run_sweep(const RunOptions&);

}  // namespace fse
