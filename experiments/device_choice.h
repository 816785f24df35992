#pragma once
#include <string>

#include "kernels/backend.h"

namespace fse {

// The device a name stands for: `auto` is the first usable GPU, else the cpu.
inline std::string choose_device(const std::string& name) {
  return name == "auto" ? device_names().front() : name;
}

}  // namespace fse
