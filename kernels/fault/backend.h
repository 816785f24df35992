#pragma once
#include <memory>
#include <string>

#include "kernels/backend.h"

namespace fse {

// A real device that fails to order: `name` is the whole "fault:cpu?hang=verify@3", see spec.h.
// What is struck is the choice of a step alone, or any of a whole layer's.
std::unique_ptr<Backend> open_fault_backend(const std::string& name, const BackendConfig&);

}  // namespace fse
