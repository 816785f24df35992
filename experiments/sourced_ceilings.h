#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/device_model.h"
#include "core/store.h"
#include "reports/report.h"

namespace fse {

// The models of configs/devices, by the environment's device. A device is known where a file's name
// is a word of its product: h100.yaml, "NVIDIA H100 80GB HBM3".
std::map<std::string, DeviceModel> known_models(const std::vector<Environment>&,
                                                const std::filesystem::path& configs_dir);

// What they say the devices can do at most, with its source.
std::vector<Ceiling> sourced_ceilings(const std::map<std::string, DeviceModel>&);

}  // namespace fse
