#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/kernel_cost.h"
#include "core/variant.h"

namespace fse {

// One published serving result, without and with the fused shared expert.
struct ServingRow {
  int tp = 1, isl = 0, osl = 0, concurrency = 0;
  int prompts = 0;                       // of the run; 0: not known
  double output_off = 0, output_on = 0;  // tokens/s
  double tpot_off = 0, tpot_on = 0;      // ms; 0: not published
};
struct ServingStudy {
  std::string name, source, model, device, framework;
  DType dtype = DType::bf16;
  Scales scales = Scales::block128;
  std::vector<std::string> tables;  // of tuned kernels, beside the splits: the library had them
  Variant off, on;
  std::vector<ServingRow> rows;
};

// Layer times that were measured here: one row per variant, dtype and token count.
struct LayerRow {
  DType dtype = DType::bf16;
  Variant variant;
  int tokens = 0;
  double us = 0;
};
struct LayerStudy {
  std::string name, model, device;
  int tp = 1;
  std::vector<LayerRow> rows;
};

// What validation scores together. Each metric has a goal, and a limit that must not be exceeded:
// the goal where it is met, else what was reached when the split was frozen.
struct Split {
  std::string name, use;                     // use: fit | test
  std::string table, device;                 // kernel level: a file beside the splits
  std::string study;                         // step level: a study of serving.yaml
  std::string layers;                        // device level: a study of layers.yaml
  std::map<std::string, std::string> where;  // columns a row must have
  std::map<std::string, double> goal, limit;
  std::string note;  // why a goal is missed
};
// One row that was moved from test to fit, and why.
struct MovedRow {
  std::string split, rows, date, reason;
};
struct ValidationSpec {
  std::string frozen;
  std::vector<Split> splits;
  std::vector<MovedRow> moved;
  std::vector<ServingStudy> studies;
  std::vector<LayerStudy> layers;
};

// splits.yaml, serving.yaml and layers.yaml of a folder. Throws Error(usage) "FILE:LINE:COL: ...".
ValidationSpec read_validation(const std::filesystem::path& folder);

// Whether a metric may be at most its bound (mape, gain_mean, gain_worst), or must be at least it
// (sign, coverage).
bool at_most(const std::string& metric);

}  // namespace fse
