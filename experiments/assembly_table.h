#pragma once
#include <string>
#include <utility>
#include <vector>

#include "kernels/assembly.h"

namespace fse {

// A Markdown table of the default tiles: a line for each kernel and number format, a pair of
// columns for each architecture. Where an architecture has several default tiles for one line, by
// the number of tokens or rows, each has a line.
std::string assembly_markdown(const std::vector<std::pair<std::string, AssemblyTable>>&);

}  // namespace fse
