#pragma once
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

namespace fse {

// A whole file, read-only in memory for as long as `owner` lives.
struct MappedFile {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

// Throws Error(data) naming the file where it cannot be opened or is not a regular file.
MappedFile map_file(const std::filesystem::path& file);

}  // namespace fse
