#include "kernels/backend.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <optional>

#include "core/error.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/emulator/backend.h"
#include "kernels/fault/backend.h"
#include "kernels/hip/backend.h"

namespace fse {

namespace {

// The number behind "hip:"; nothing for any other text.
std::optional<int> gpu_index(const std::string& device) {
  int index = 0;
  const char* const end = device.data() + device.size();
  if (!device.starts_with("hip:")) return std::nullopt;
  const auto [stop, error] = std::from_chars(device.data() + 4, end, index);
  if (error != std::errc() || stop != end || index < 0) return std::nullopt;
  return index;
}

}  // namespace

std::unique_ptr<Backend> open_backend(const std::string& device, const BackendConfig& config) {
  if (device == "cpu") return open_cpu_backend();
  if (device.starts_with("fault:")) return open_fault_backend(device, config);
  std::string why;
  try {
    if (const auto index = gpu_index(device)) return open_hip_backend(*index, config);
    if (device.starts_with("emu:")) return open_emulator(device.substr(4), config);
  } catch (const Error& error) {
    why = fmt::format(" ({})", error.what());
  }
  throw Error(ErrorKind::environment, fmt::format("device '{}' cannot be used here{}; there is: {}",
                                                  device, why, fmt::join(device_names(), ", ")));
}

std::vector<std::string> device_names() {
  std::vector<std::string> names = hip_device_names();
  names.push_back("cpu");
  for (const std::string& arch : emulated_archs()) names.push_back("emu:" + arch);
  return names;
}

}  // namespace fse
