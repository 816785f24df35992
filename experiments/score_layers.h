#pragma once
#include "experiments/validation.h"

namespace fse {

// Predicted layer times beside those that were measured, and each variant's gain over
// separate/unfused/mlp of the same dtype and token count.
SplitScore score_layers(const Split&, const LayerStudy&, const std::filesystem::path& configs,
                        const std::vector<std::string>& what_if);

}  // namespace fse
