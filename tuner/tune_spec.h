#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/names.h"

namespace fse {

// How candidates are chosen. automatic: the neighbours of the best so far first, which is all of
// them where the budget allows it; random: a sample.
enum class Strategy { automatic, exhaustive, random, none };
template <>
inline constexpr NameTable<Strategy, 4> kNames<Strategy>{{{Strategy::automatic, "auto"},
                                                          {Strategy::exhaustive, "exhaustive"},
                                                          {Strategy::random, "random"},
                                                          {Strategy::none, "none"}}};

// Only these values of one axis are tried, in every kernel of an op or in one kernel.
struct TileRestriction {
  std::string target;  // an op's name or a catalogue row's name
  std::string axis;
  std::vector<int> values;
  std::string where;  // of the axis in the sweep, for errors
};

// How long to search for the best tile of one step, a step being what one step_key names. At most
// one of the three limits is set; none of them (`budget: none`) means no limit.
struct TuneSpec {
  Strategy strategy = Strategy::automatic;
  std::optional<double> seconds;   // 60s, 2m
  std::optional<int> evaluations;  // 200
  std::optional<double> fraction;  // 10% of the candidates: 0.1
  std::vector<TileRestriction> tiles;
};

}  // namespace fse
