#pragma once
#include <filesystem>
#include <optional>
#include <string>

namespace fse {

// A whole file, byte by byte; nothing where it cannot be read.
std::optional<std::string> read_file(const std::filesystem::path&);

}  // namespace fse
