#pragma once
#include <filesystem>
#include <vector>

#include "core/store.h"
#include "reports/report.h"

namespace fse {

// What configs/devices says the devices of these environments can do at most, with its source. A
// device is known where a file's name is a word of its product: h100.yaml, "NVIDIA H100 80GB HBM3".
std::vector<Ceiling> sourced_ceilings(const std::vector<Environment>&,
                                      const std::filesystem::path& configs_dir);

}  // namespace fse
