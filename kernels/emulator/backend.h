#pragma once
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace fse {

// A GPU that is not there: its wave, LDS and matrix layouts, run lane by lane on the host. `arch`
// is one of emulated_archs(); throws Error(environment) for any other.
std::unique_ptr<Backend> open_emulator(const std::string& arch, const BackendConfig&);
std::vector<std::string> emulated_archs();
DeviceInfo emulated_device(const std::string& arch);

}  // namespace fse
