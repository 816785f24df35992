#pragma once
#include <memory>
#include <optional>
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

// The folder of "replay:FOLDER", see tuner/replay.h; nothing for any other device.
std::optional<std::string> replayed_folder(const std::string& name);

// The device that a name stands for, opened with backend_config().
std::unique_ptr<Backend> open_device(const std::string& name);

}  // namespace fse
