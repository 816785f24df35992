#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/tuned_table.h"

namespace fse {

// One row of an AITER table of tuned fused-MoE kernels: the experts' kernels of one layer.
struct KernelRow {
  int line = 0;  // of the file
  LayerSpec layer;
  Scales scales = Scales::block128;
  int tokens = 0;
  double us = 0;
  GroupedTile tile;   // of its first kernel, by its name; 0 x 0 where the name has none
  std::string doubt;  // why it cannot have been measured as it says; empty: nothing speaks against
  std::map<std::string, std::string> cells;  // by column
};

// Throws Error "FILE:LINE: ..." for what is no such table.
std::vector<KernelRow> read_kernel_table(const std::filesystem::path& file);

// Rows of this many compute units that were measured and name a tile.
std::vector<TunedRow> tuned_rows(const std::vector<KernelRow>&, double compute_units);

// The row of the same shape without the last expert and choice: what the slot is compared with.
const KernelRow* without_slot(const std::vector<KernelRow>&, const KernelRow&);

}  // namespace fse
