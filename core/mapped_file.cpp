#include "core/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace fse {
namespace {

[[noreturn]] void fail(const std::filesystem::path& file, const std::string& what) {
  fail_data(fmt::format("{}: {}", file.string(), what));
}

MappedFile map_descriptor(int fd, const std::filesystem::path& file) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) fail(file, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) fail(file, "not a regular file, expected one");
  const auto size = static_cast<size_t>(status.st_size);
  if (size == 0) return {};
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (data == MAP_FAILED) fail(file, fmt::format("cannot be mapped: {}", std::strerror(errno)));
  const auto unmap = [size](const void* p) { ::munmap(const_cast<void*>(p), size); };
  return {{static_cast<const std::byte*>(data), size}, std::shared_ptr<const void>(data, unmap)};
}

}  // namespace

MappedFile map_file(const std::filesystem::path& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe must not block
  if (fd < 0) fail(file, fmt::format("cannot be opened: {}", std::strerror(errno)));
  const auto close = [](const int* p) { ::close(*p); };
  const std::unique_ptr<const int, decltype(close)> guard(&fd, close);
  return map_descriptor(fd, file);
}

}  // namespace fse
