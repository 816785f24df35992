#include "experiments/device_choice.h"

#include <algorithm>
#include <thread>

#include "experiments/paths.h"

namespace fse {

BackendConfig backend_config() {
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  return {.device_dir = device_headers_dir(),
          .cache_dir = kernel_cache_dir(),
          .compile_threads = std::max(1, cores)};
}

std::unique_ptr<Backend> open_device(const std::string& name) {
  return open_backend(choose_device(name), backend_config());
}

}  // namespace fse
