#include "experiments/freshness.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/version.h"
#include "experiments/device_choice.h"

namespace fse {
namespace {

// A device with a run-time compiler names it, and the hash of its kernels, behind fselab's own
// compiler, which has no part in them. Other kernels are fselab's own code: its revision is theirs.
std::string what_changed(const Environment& then, const std::string& toolchain) {
  const size_t own = then.compiler.find("; ");
  if (!toolchain.empty() && own != std::string::npos) {
    const std::string before = then.compiler.substr(own + 2);
    return before == toolchain ? ""
                               : fmt::format("measured with '{}', here is '{}'", before, toolchain);
  }
  if (then.compiler != compilers_text(toolchain))
    return fmt::format("measured with '{}', here is '{}'", then.compiler,
                       compilers_text(toolchain));
  if (then.git_revision != git_revision())
    return fmt::format("measured by fselab {}, this is {}", then.git_revision, git_revision());
  return {};
}

}  // namespace

std::string compilers_text(const std::string& kernel_toolchain) {
  return fmt::format("{}{}{}", compiler_text(), kernel_toolchain.empty() ? "" : "; ",
                     kernel_toolchain);
}

Freshness freshness_of(const Environment& then, const DeviceInfo& here,
                       const std::string& kernel_toolchain) {
  Freshness found;
  const DeviceInfo& there = then.device;
  if (here.arch != there.arch || here.product != there.product ||
      here.compute_units != there.compute_units)
    found.elsewhere = fmt::format("measured on {} ({}, {} units), here {} is {} ({}, {} units)",
                                  there.product, there.arch, there.compute_units, here.name,
                                  here.product, here.arch, here.compute_units);
  else
    found.changed = what_changed(then, kernel_toolchain);
  return found;
}

Freshness freshness_of(const Environment& then, const std::vector<std::string>& kernels) {
  for (const std::string& kernel : kernels)
    if (find_kernel(kernel) == nullptr)
      return {.changed = fmt::format("this fselab has no kernel '{}'", kernel)};
  try {
    const auto backend = open_device(then.device.name);
    return freshness_of(then, backend->device(), backend->kernel_toolchain());
  } catch (const Error& error) {
    if (error.kind != ErrorKind::environment) throw;
    return {.unchecked =
                fmt::format("{} is not here, so its kernels and compilers were not compared",
                            then.device.name)};
  }
}

}  // namespace fse
