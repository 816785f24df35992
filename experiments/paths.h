#pragma once
#include <filesystem>

namespace fse {

// The folder with models/ and sweeps/: PREFIX/share/fselab/configs for an installed binary, else
// the one in the source tree it was built from. The working directory plays no part. Throws
// Error(environment) where neither exists.
std::filesystem::path configs_dir();

}  // namespace fse
