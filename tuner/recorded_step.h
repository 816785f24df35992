#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "core/case.h"
#include "core/outcome.h"
#include "kernels/catalog.h"
#include "tuner/search.h"

namespace fse {

struct RecordedTile {
  std::string kernel, tile;
  Outcome outcome;
};

// Every tile of one step as a device measured it: what searches are compared on, and what the
// device `replay:FOLDER` answers from. A file of it is gzip; in it a line of JSON that says what
// was recorded, then a line for each tile, the default first.
struct RecordedStep {
  DeviceInfo device;
  std::string toolchain;
  double read_gbs = 0, peak_gflops = 0;
  Case spec;         // the workload, and a variant that has the step
  std::string step;  // its name in that variant's plan
  int legal = 0;     // tiles that there are of it: all are recorded, or a sample
  std::vector<RecordedTile> tiles;
};

void write_recorded_step(const RecordedStep&, const std::filesystem::path& file);
// Throws Error(data) "FILE:LINE: ..." for what is no such file, or one of other kernels.
RecordedStep read_recorded_step(const std::filesystem::path& file);

// The plan of the recorded case, and the step's place in it.
struct RecordedPlan {
  LayerPlan plan;
  size_t step = 0;
};
RecordedPlan plan_of(const RecordedStep&);

// Medians by point; NaN for tiles that failed.
RecordedSpace space_of(const RecordedStep&);

}  // namespace fse
