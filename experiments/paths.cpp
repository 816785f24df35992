#include "experiments/paths.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include "core/error.h"

namespace fse {

namespace fs = std::filesystem;

namespace {

// PREFIX/share/fselab beside PREFIX/bin/fselab.
fs::path share_dir() {
  std::error_code error;
  const fs::path binary = fs::read_symlink("/proc/self/exe", error);
  return binary.parent_path().parent_path() / "share/fselab";
}

}  // namespace

fs::path configs_dir() {
  std::error_code error;
  const fs::path installed = share_dir() / "configs";
  if (fs::is_directory(installed, error)) return installed;
  const fs::path source = fs::path(FSELAB_SOURCE_CONFIGS);
  if (fs::is_directory(source, error)) return source;
  throw Error(ErrorKind::environment,
              fmt::format("no configs folder, expected {} (installed) or {} (source tree)",
                          installed.string(), source.string()));
}

fs::path device_headers_dir() {
  std::error_code error;
  const fs::path installed = share_dir() / "kernels/device";
  return fs::is_directory(installed, error) ? installed : fs::path(FSELAB_SOURCE_DEVICE);
}

fs::path reports_dir() {
  std::error_code error;
  const fs::path installed = share_dir() / "reports";
  return fs::is_directory(installed, error) ? installed : fs::path(FSELAB_SOURCE_REPORTS);
}

fs::path chart_libraries() {
  std::error_code error;
  const fs::path installed = share_dir() / "reports/charts.js";
  return fs::exists(installed, error) ? installed : fs::path(FSELAB_BUILT_CHARTS);
}

fs::path kernel_cache_dir() {
  const passwd* user = ::getpwuid(::getuid());
  if (!user || !user->pw_dir || !*user->pw_dir) return {};
  return fs::path(user->pw_dir) / ".cache/fselab/kernels";
}

}  // namespace fse
