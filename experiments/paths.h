#pragma once
#include <filesystem>

namespace fse {

// The folder with models/ and sweeps/: PREFIX/share/fselab/configs for an installed binary, else
// the one in the source tree it was built from. The working directory plays no part. Throws
// Error(environment) where neither exists.
std::filesystem::path configs_dir();

// The folder of device headers, found in the same way; where neither exists, the source tree's.
std::filesystem::path device_headers_dir();

// The parts of the HTML report, found in the same way, and the script that draws its charts: built
// beside the binary or installed; it does not exist in a build without npm.
std::filesystem::path reports_dir();
std::filesystem::path chart_libraries();

// Where compiled kernels are kept: ~/.cache/fselab/kernels of the user who runs this; empty where
// they have no home.
std::filesystem::path kernel_cache_dir();

}  // namespace fse
