#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/prediction_error.h"
#include "experiments/validation_reader.h"

namespace fse {

// One prediction beside what was published: a time in us, output tokens/s, TPOT in ms, or a gain.
struct ScoredRow {
  std::string what;  // "tokens=4", "tp=2 concurrency=4 on"
  Prediction value;
  std::string kind = {};  // of gains: those of one kind resemble each other at near sizes
  double size = 0;        // tokens
};

struct SplitScore {
  Split split;
  std::string unit;  // of the values: us | tok/s
  std::vector<ScoredRow> values, tpots, gains;
  std::vector<double> nearest;  // per gain: the nearest one of a fit split, else of another size
  int64_t doubtful = 0;         // rows left out: they cannot have been measured
  std::map<std::string, double> metrics() const;
  ErrorSummary errors() const;
  ErrorSummary tpot_errors() const;
  GainSummary gain_errors() const;
  std::vector<std::string> broken() const;  // "mape is 5.3, limit 5"
};

// Where no fit split knows a gain: for each that of the nearest other size of its kind, else of
// any.
void copy_nearest_gains(SplitScore&);

// Every split of the folder's splits.yaml, scored with the models, devices and frameworks of
// `configs`, changed as said.
std::vector<SplitScore> score_splits(const ValidationSpec&, const std::filesystem::path& folder,
                                     const std::filesystem::path& configs,
                                     const std::vector<std::string>& what_if);

}  // namespace fse
