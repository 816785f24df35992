#include "experiments/write_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/error.h"

namespace fse {
namespace {

namespace fs = std::filesystem;

// 0, or what errno says.
int write_in_place(const fs::path& file, const std::string& text) {
  std::FILE* const out = std::fopen(file.c_str(), "wb");
  if (out == nullptr) return errno;
  int error = std::fwrite(text.data(), 1, text.size(), out) == text.size() ? 0 : errno;
  if (std::fclose(out) != 0 && error == 0) error = errno;
  return error;
}

int write_and_rename(const fs::path& file, const std::string& text) {
  std::error_code none;
  const fs::path target = fs::is_symlink(file, none) ? fs::canonical(file, none) : file;
  fs::path mine = target;
  mine += fmt::format(".{}.tmp", getpid());
  int error = write_in_place(mine, text);
  if (error == 0 && std::rename(mine.c_str(), target.c_str()) != 0) error = errno;
  if (error != 0) std::remove(mine.c_str());
  return error;
}

}  // namespace

void write_file(const fs::path& file, const std::string& text) {
  std::error_code none;
  const bool special = fs::exists(file, none) && !fs::is_regular_file(file, none);
  const int error = special ? write_in_place(file, text) : write_and_rename(file, text);
  if (error != 0)
    throw Error(ErrorKind::environment,
                fmt::format("{}: cannot be written: {}", file.string(), std::strerror(error)));
}

}  // namespace fse
