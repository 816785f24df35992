#pragma once
#include <filesystem>
#include <string>

#include "core/serving_model.h"

namespace fse {

// A file of configs/frameworks by its name without .yaml. Throws Error(usage) "FILE:LINE:COL: ..."
// for a key that is unknown or missing, a width that is no sum of products, a kernel named twice,
// or an entry without source, date and kind; and for a name that has no file.
FrameworkModel find_framework(const std::string& name, const std::filesystem::path& configs_dir);
FrameworkModel parse_framework(const std::string& yaml, const std::string& file);

}  // namespace fse
