#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/layer_spec.h"

namespace fse {

// One row of an AITER table of tuned fused-MoE kernels: the experts' kernels of one layer.
struct KernelRow {
  int line = 0;  // of the file
  LayerSpec layer;
  int tokens = 0;
  double us = 0;
  std::string doubt;  // why it cannot have been measured as it says; empty: nothing speaks against
  std::map<std::string, std::string> cells;  // by column
};

// Throws Error "FILE:LINE: ..." for what is no such table.
std::vector<KernelRow> read_kernel_table(const std::filesystem::path& file);

// The row of the same shape without the last expert and choice: what the slot is compared with.
const KernelRow* without_slot(const std::vector<KernelRow>&, const KernelRow&);

}  // namespace fse
