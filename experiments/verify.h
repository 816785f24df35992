#pragma once
#include <filesystem>
#include <string>

namespace fse {

struct VerifyOptions {
  std::filesystem::path dir;  // config.json, model.safetensors, golden.safetensors where present
  std::string device = "auto";
  std::string kernel;        // only kernels whose name has this in it, where a step has such
  std::string layer;         // its tensors' prefix; empty: the only MoE layer there is
  bool all_tiles = false;    // every legal tile of every step, not only the default one
  bool counters = false;     // also count what the kernels do and hold it against their ops
  std::filesystem::path db;  // where the counters are kept; empty: nowhere
};

// Runs every variant and dtype of one layer against the reference, and the golden answer where
// there is one; prints a line for each. Returns 0 when something passed and nothing failed, 1 when
// something failed, 2 when nothing was legal.
int verify_layer(const VerifyOptions&);

}  // namespace fse
