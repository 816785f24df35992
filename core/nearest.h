#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace fse {

// The candidate a mistyped name most likely meant, for "did you mean" hints; empty when nothing is
// near. Case, and '-' against '_', cost nothing; a swap of neighbours costs one edit.
std::string nearest_name(std::string_view text, const std::vector<std::string>& candidates);

// " (did you mean 'mlp'?)", or empty: to be appended to an error.
std::string did_you_mean(std::string_view text, const std::vector<std::string>& candidates);

}  // namespace fse
