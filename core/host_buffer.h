#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace fse {

// Zero-initialised host memory, 64-byte aligned, on huge pages where the system has them (a decode
// layer touches gigabytes: small pages cost translation misses). Movable, freed once.
class HostBuffer {
 public:
  HostBuffer() = default;
  explicit HostBuffer(int64_t bytes);  // throws Error(environment) naming the size it wanted
  ~HostBuffer();
  HostBuffer(HostBuffer&& other) noexcept;
  HostBuffer& operator=(HostBuffer&& other) noexcept;
  HostBuffer(const HostBuffer&) = delete;  // gigabytes are never copied by accident
  HostBuffer& operator=(const HostBuffer&) = delete;

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

// Fills with 0xff: NaN as f32, bf16, f16 and e4m3fn, -1 as i32. What a kernel forgets to write
// shows.
void poison(std::span<std::byte> bytes);

}  // namespace fse
