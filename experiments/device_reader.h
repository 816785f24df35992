#pragma once
#include <filesystem>
#include <string>

#include "core/device_model.h"

namespace fse {

// A file of configs/devices by its name without .yaml. Throws Error(usage) "FILE:LINE:COL: ..." for
// a field that is unknown, missing, out of range, or without unit, source, date and kind.
DeviceModel find_device_model(const std::string& name, const std::filesystem::path& configs_dir);
DeviceModel parse_device_model(const std::string& yaml, const std::string& file);

}  // namespace fse
