#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fse {

// One point of a kernel's space: a value for each of its axes, in the order of KernelDef::axes.
struct Tile {
  std::vector<std::pair<std::string, int>> axes;

  int at(const std::string& axis) const;  // throws std::logic_error for an axis it does not have
  bool operator==(const Tile&) const = default;
};

// What ran, by name: "cpu.combine threads=0 cols=256"; the kernel alone for no axes.
std::string choice_text(const std::string& kernel, const Tile&);
std::string to_text(const Tile&);              // "rows=4 depth=512 threads=2"; "" for no axes
Tile tile_from_text(const std::string& text);  // throws Error(data) on malformed text

// Whether a kernel of this name is a call of the vendor's library: "hip.mlp_stage1.library". Which
// library it is, the environment says.
bool is_library(std::string_view kernel);

}  // namespace fse
