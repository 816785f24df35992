#include "core/host_buffer.h"

#include <fmt/format.h>
#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace fse {
namespace {

constexpr int64_t kPage = 4096;
constexpr int64_t kHugePage = 2 << 20;
constexpr int64_t kLargest = int64_t{1} << 62;

// One page more than asked for: under the address sanitizer what follows the last byte is a red
// zone, so that a kernel that reads past its buffer is caught as it would be on the heap.
constexpr int64_t mapped_bytes(int64_t bytes) {
  return (bytes + kPage - 1) / kPage * kPage + kPage;
}

[[noreturn]] void fail(int64_t bytes, const char* why) {
  throw Error(ErrorKind::environment, fmt::format("cannot allocate {} bytes ({:.1f} GiB): {}",
                                                  bytes, static_cast<double>(bytes) / 0x1p30, why));
}

// A huge page covers only what begins at a multiple of its size: map one more and cut both ends.
std::byte* map_aligned(int64_t bytes) {
  const int64_t alignment = bytes >= kHugePage ? kHugePage : kPage;
  const int64_t wanted = mapped_bytes(bytes);
  const int64_t total = wanted + alignment - kPage;
  void* raw = ::mmap(nullptr, static_cast<size_t>(total), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) fail(bytes, std::strerror(errno));
  auto* begin = static_cast<std::byte*>(raw);
  const auto address = reinterpret_cast<uintptr_t>(begin);
  const auto unit = static_cast<uintptr_t>(alignment);
  const auto head = static_cast<int64_t>((address + unit - 1) / unit * unit - address);
  const int64_t tail = total - head - wanted;
  if (head > 0) ::munmap(begin, static_cast<size_t>(head));
  if (tail > 0) ::munmap(begin + head + wanted, static_cast<size_t>(tail));
  return begin + head;
}

}  // namespace

HostBuffer::HostBuffer(int64_t bytes) {
  check(bytes >= 0, "a buffer's size is not negative");
  if (bytes == 0) return;
  if (bytes > kLargest) fail(bytes, "more than any address space");
  data_ = map_aligned(bytes);
  bytes_ = bytes;
  // Advice only: without huge pages the buffer is slower, not wrong.
  if (bytes >= kHugePage) ::madvise(data_, static_cast<size_t>(bytes), MADV_HUGEPAGE);
  ASAN_POISON_MEMORY_REGION(data_ + bytes, static_cast<size_t>(mapped_bytes(bytes) - bytes));
}

HostBuffer::~HostBuffer() {
  if (data_ == nullptr) return;
  const auto mapped = static_cast<size_t>(mapped_bytes(bytes_));
  ASAN_UNPOISON_MEMORY_REGION(data_, mapped);
  ::munmap(data_, mapped);
}

HostBuffer::HostBuffer(HostBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

HostBuffer& HostBuffer::operator=(HostBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void poison(std::span<std::byte> bytes) {
  if (!bytes.empty()) std::memset(bytes.data(), 0xff, bytes.size());
}

}  // namespace fse
