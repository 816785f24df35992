#pragma once
#include <memory>
#include <string>

#include "kernels/backend.h"

namespace fse {

// The device a name stands for: `auto` is the first usable GPU, else the cpu.
inline std::string choose_device(const std::string& name) {
  return name == "auto" ? device_names().front() : name;
}

// A GPU's kernels come from the installed device headers or the source tree's, and are kept in the
// user's cache folder once compiled.
BackendConfig backend_config();

// Throws Error(environment) for a device that is never measured, with the command that takes it.
void require_measured_device(const std::string& name);

// The device that a name stands for, opened with backend_config().
std::unique_ptr<Backend> open_device(const std::string& name);

}  // namespace fse
