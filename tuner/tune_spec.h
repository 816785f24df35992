#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/names.h"

namespace fse {

// How candidates are chosen: see SearchMethod. automatic: by the size of the space and the budget;
// exhaustive: all of them, in the order of the axes; none: the default tile alone.
enum class Strategy { automatic, exhaustive, random, local, evolutionary, none };
template <>
inline constexpr NameTable<Strategy, 6> kNames<Strategy>{{{Strategy::automatic, "auto"},
                                                          {Strategy::exhaustive, "exhaustive"},
                                                          {Strategy::random, "random"},
                                                          {Strategy::local, "local"},
                                                          {Strategy::evolutionary, "evolutionary"},
                                                          {Strategy::none, "none"}}};

// Only these values of one axis are tried, in every kernel of an op or in one kernel.
struct TileRestriction {
  std::string target;  // an op's name or a catalogue row's name
  std::string axis;
  std::vector<int> values;
  std::string where;  // of the axis in the sweep, for errors
};

// How long to search for the best tile of one step, a step being what one step_key names: until
// the first of these limits is reached, or without a limit (`budget: none`).
struct TuneSpec {
  Strategy strategy = Strategy::automatic;
  std::optional<double> seconds;   // 60s, 2m
  std::optional<int> evaluations;  // 200
  std::optional<double> fraction;  // 10% of the candidates: 0.1
  std::optional<int> no_gain;      // no_gain(50): so many in a row without a new best
  std::vector<TileRestriction> tiles;
};

}  // namespace fse
