#pragma once
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace fse {

// Present in every build; without a GPU toolkit they know no device and say how to get one.
std::unique_ptr<Backend> open_hip_backend(int index, const BackendConfig&);
std::vector<std::string> hip_device_names();  // usable ones: "hip:0", ...

// One line or more for people: what is there, or why nothing is.
std::string describe_gpus();

}  // namespace fse
