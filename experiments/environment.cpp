#include "experiments/environment.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include "core/version.h"
#include "experiments/freshness.h"

namespace fse {

Environment environment_here(const DeviceInfo& device, const std::string& kernel_toolchain) {
  utsname name{};
  const bool known = uname(&name) == 0;
  return {.device = device,
          .compiler = compilers_text(kernel_toolchain),
          .git_revision = std::string(git_revision()),
          .host_os = known ? fmt::format("{} {}", name.sysname, name.release) : "unknown"};
}

}  // namespace fse
