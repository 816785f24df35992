#pragma once
#include <string>

#include "core/store.h"

namespace fse {

// What a number was made by on this machine; the rates are the caller's to fill in.
Environment environment_here(const DeviceInfo&, const std::string& kernel_toolchain);

}  // namespace fse
