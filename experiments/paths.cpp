#include "experiments/paths.h"

#include <fmt/format.h>

#include "core/error.h"

namespace fse {

namespace fs = std::filesystem;

fs::path configs_dir() {
  std::error_code error;
  const fs::path binary = fs::read_symlink("/proc/self/exe", error);
  const fs::path installed = binary.parent_path().parent_path() / "share/fselab/configs";
  if (!error && fs::is_directory(installed, error)) return installed;
  const fs::path source = fs::path(FSELAB_SOURCE_CONFIGS);
  if (fs::is_directory(source, error)) return source;
  throw Error(ErrorKind::environment,
              fmt::format("no configs folder, expected {} (installed) or {} (source tree)",
                          installed.string(), source.string()));
}

}  // namespace fse
