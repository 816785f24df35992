#pragma once
#include <optional>
#include <set>
#include <string>

#include "core/statistics.h"
#include "core/store.h"

namespace fse {

// What layers show against themselves: below it no change means anything.
struct AaFloor {
  double change = 0;    // the largest, relative; NaN: unknown
  size_t controls = 0;  // layers raced against themselves; 0: halves of their rounds
  size_t failed = 0;    // those that came out FASTER or SLOWER than themselves
};

// A layer raced twice in every round against itself; nothing where it was not, or too briefly.
std::optional<Comparison> against_itself(const AttemptRecord&, double delta);
// Its even against its odd rounds, for layers without a control; NaN below twelve of them.
double change_of_halves(const AttemptRecord&);

// FASTER or SLOWER than itself: its race decides nothing.
bool failed_control(const AttemptRecord&, double delta);

// What the layers of one race have in common, as SQL over an attempt `a` and its layer_case `c`.
inline constexpr const char* kRaceSql =
    "(a.study || ' ' || a.run || ' ' || a.workload || ' ' || c.model || ' ' || c.hidden || ' ' || "
    "c.intermediate || ' ' || c.experts || ' ' || c.top_k || ' ' || c.dtype || ' ' || "
    "c.activations || ' ' || c.tp || ' ' || c.tokens)";
// The races of a database whose control failed.
std::set<std::string> failed_races(const Store&, double delta);

// " A/A floor: ...; a change below that says nothing." as a sentence, "" where it is unknown.
std::string to_text(const AaFloor&);

}  // namespace fse
