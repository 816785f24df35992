#pragma once
#include <string_view>

namespace fse {

std::string_view version();        // "0.1.0"
std::string_view git_revision();   // of the sources when they were built; "unknown" without git
std::string_view compiler_text();  // "GNU 12.2.0 -O3 -g1"

}  // namespace fse
