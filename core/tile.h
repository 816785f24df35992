#pragma once
#include <string>
#include <utility>
#include <vector>

namespace fse {

// One point of a kernel's space: a value for each of its axes, in the order of KernelDef::axes.
struct Tile {
  std::vector<std::pair<std::string, int>> axes;

  int at(const std::string& axis) const;  // throws std::logic_error for an axis it does not have
  bool operator==(const Tile&) const = default;
};

std::string to_text(const Tile&);              // "rows=4 depth=512 threads=2"; "" for no axes
Tile tile_from_text(const std::string& text);  // throws Error(data) on malformed text

}  // namespace fse
