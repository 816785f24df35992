#pragma once
#include <string>
#include <vector>

#include "experiments/dispatch_tables.h"

namespace fse {

// The tables as a C++17 header that needs nothing but the standard library: constexpr rows, and
// functions that find the row of a token count and the kernel and tile of a step. A namespace per
// layer; Error(usage) where two layers would get the same.
std::string dispatch_header(const Store&, const std::vector<Dispatched>&);

}  // namespace fse
