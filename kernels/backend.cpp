#include "kernels/backend.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "kernels/cpu/cpu_backend.h"

namespace fse {

std::unique_ptr<Backend> open_backend(const std::string& device) {
  if (device == "cpu") return open_cpu_backend();
  throw Error(ErrorKind::environment, fmt::format("device '{}' cannot be used here; there is: {}",
                                                  device, fmt::join(device_names(), ", ")));
}

std::vector<std::string> device_names() {
  return {"cpu"};
}

}  // namespace fse
