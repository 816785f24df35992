#pragma once
#include <memory>

#include "kernels/backend.h"

namespace fse {

std::unique_ptr<Backend> open_cpu_backend();

}  // namespace fse
