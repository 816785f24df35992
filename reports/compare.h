#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/statistics.h"
#include "core/store.h"
#include "reports/aa_floor.h"
#include "reports/grid.h"

namespace fse {

// One case that both selections measured.
struct Pair {
  std::vector<std::string> key;  // parallel to Pairs::key_columns
  AttemptRecord baseline, candidate;
  Comparison comparison;        // after Holm's correction over all pairs
  bool paired = false;          // by round; else from the intervals
  bool failed_control = false;  // a layer of either's race was FASTER or SLOWER than itself
};
struct Pairs {
  std::string baseline, candidate;  // as they were asked for
  std::vector<std::string> key_columns;
  std::vector<Pair> all;
  AaFloor floor;                                  // of all layers that are compared
  int64_t only_baseline = 0, only_candidate = 0;  // cases that have no counterpart
};

// The newest verified layers of two selections, of one database or two. A selection is a study's
// name or filter conditions separated by spaces; what those conditions name may differ between the
// two, all else (model, dtype, tp, tokens, routing, cache, seed, device, variant) must agree.
// Where the control of a race failed, nothing that was measured in it is decided.
Pairs match_pairs(const Store& a, const std::string& baseline, const Store& b,
                  const std::string& candidate);
inline constexpr const char* kSimulated = "simulated";  // the word for it as a selection
// What a cost model says of a case: median and interval, without samples.
using Predict = std::function<std::optional<Summary>(const Case&)>;
// The same with what is predicted as the baseline, so a change is the prediction's error: below 0
// the layer is faster than predicted. Cases that cannot be predicted have no pair.
Pairs match_simulated(const Store&, const std::string& candidate, const Predict&);
Grid to_grid(const Pairs&);
Grid compare_selections(const Store& a, const std::string& baseline, const Store& b,
                        const std::string& candidate);
std::string compare_help();

// "layer_time_us<=+3%": how much slower a candidate may be. A pair breaks it when its whole
// interval lies above, or when it has none.
double parse_gate(const std::string& text);  // 1.03
bool breaks_gate(const Pair&, double limit);

// A test case per pair, failed where it breaks the gate.
std::string to_junit(const Pairs&, double limit);

// The comparison as a chapter: how many are faster, where it loses, the table.
std::string to_markdown(const Pairs&);

}  // namespace fse
