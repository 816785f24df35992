#pragma once
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "core/names.h"

namespace fse {

// What to run by how busy the experts are. The axis is tokens per expert, tokens * top_k / experts:
// it is known before a kernel is launched, and what is best changes along it.

// One workload at which choices were measured against each other.
struct DispatchSample {
  int tokens = 0;
  std::string routing;              // its regime: distribution and seed
  std::vector<double> regret = {};  // [choice] time over the fastest's - 1; infinite: not measured
};

struct DispatchSamples {
  double experts_per_token = 1;  // top_k / experts: tokens times this is tokens per expert
  std::vector<std::string> choices;
  std::vector<DispatchSample> samples;
};

// From `begin` tokens per expert up to the next row's: one choice.
struct DispatchRow {
  double begin = 0;
  int first_tokens = 0, last_tokens = 0;  // the measured ones it was chosen for
  size_t choice = 0;
  double regret = 0;       // worst at its own samples
  bool crossover = false;  // the choices of this row and the one before really swap at its begin
  int up_to = std::numeric_limits<int>::max();  // tokens at which its choice can still run
};

// The rows for one regime, or for all of them together.
struct DispatchPart {
  std::string routing;  // "" = whichever
  std::vector<DispatchRow> rows;
};

// What a table of that many rows costs: the worst regret at what it was made from, and at samples
// that it was not made from: each token count but the first and last left out in turn. NaN where
// there is none.
struct DispatchCost {
  std::string routing;  // "" = one table for all regimes
  size_t rows = 0;
  double sampled = 0, held_out = 0;
  int worst_tokens = 0;  // where held_out was found
};

struct DispatchTable {
  std::vector<DispatchPart> parts;
  int min_tokens = 0, max_tokens = 0;  // what was sampled: the table says nothing beyond
  double sampled = 0, held_out = 0;
  bool reached = false;             // held_out is within what was asked for
  std::vector<DispatchCost> costs;  // by regime, then rows
  size_t rows() const;
};

// The fewest rows whose worst held-out regret is at most `most` (0.02), in one table for all
// regimes or, where `by_routing`, in one for each; where none gets there, that of the least.
DispatchTable build_dispatch(const DispatchSamples&, double most, bool by_routing = true);

// How much a table's answer for a workload may be trusted.
enum class DispatchClass {
  exact,         // measured at this token count and regime
  interpolated,  // between measured ones
  stale,         // measured by other kernels, or by others' compilers
  fallback,      // not measured: the default
};
template <>
inline constexpr NameTable<DispatchClass, 4> kNames<DispatchClass>{
    {{DispatchClass::exact, "exact"},
     {DispatchClass::interpolated, "interpolated"},
     {DispatchClass::stale, "stale"},
     {DispatchClass::fallback, "default"}}};

struct DispatchAnswer {
  DispatchClass trust = DispatchClass::fallback;
  std::string why;
  std::optional<size_t> choice;  // nothing: the default
};
// `changed`: why what was measured is no longer what would run; "" where it is.
DispatchAnswer look_up(const DispatchSamples&, const DispatchTable&, int tokens,
                       const std::string& routing, const std::string& changed);

}  // namespace fse
