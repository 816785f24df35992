#include "experiments/device_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "core/error.h"
#include "experiments/paths.h"

namespace fse {

BackendConfig backend_config() {
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  return {.device_dir = device_headers_dir(),
          .cache_dir = kernel_cache_dir(),
          .compile_threads = std::max(1, cores)};
}

void require_measured_device(const std::string& name) {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorKind::environment, fmt::format("device '{}' {}", name, why));
  };
  if (name.starts_with("emu:"))
    refuse("runs kernels to check them and times nothing: fselab verify DIR --device " + name);
  if (name.starts_with("sim:"))
    refuse("is predicted, not measured: fselab simulate SWEEP device=" + name.substr(4));
}

std::optional<std::string> replayed_folder(const std::string& name) {
  constexpr std::string_view kPrefix = "replay:";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  return name.substr(kPrefix.size());
}

std::unique_ptr<Backend> open_device(const std::string& name) {
  return open_backend(choose_device(name), backend_config());
}

}  // namespace fse
