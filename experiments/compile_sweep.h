#pragma once
#include <string>
#include <vector>

namespace fse {

struct CompileSweepOptions {
  std::string sweep;  // a file, or a name in configs/sweeps
  std::vector<std::string> overrides;
  std::string arch = "sm_90";
  std::string shard;  // "2/8": this part of the instances, beside other processes; "": all
  int likely = 0;     // of each step, the default and so many that a search asks for first; 0: all
};

// Compiles what a run of the sweep tries, so that it need not: needs the compiler, not a GPU.
// Prints each failure and a count. Returns 0 when everything compiled, else 1.
int compile_sweep(const CompileSweepOptions&);

}  // namespace fse
