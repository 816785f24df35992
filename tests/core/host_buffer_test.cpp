#include "core/host_buffer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/dtype.h"
#include "core/error.h"

namespace fse {
namespace {

TEST_CASE("a buffer is zero, aligned and writable to its last byte") {
  for (const int64_t bytes : {int64_t{1}, int64_t{63}, int64_t{4096}, int64_t{4097},
                              int64_t{2} << 20, (int64_t{5} << 20) + 3}) {
    CAPTURE(bytes);
    HostBuffer buffer(bytes);
    CHECK(buffer.bytes() == bytes);
    CHECK(reinterpret_cast<uintptr_t>(buffer.data()) % 64 == 0);
    CHECK(std::all_of(buffer.data(), buffer.data() + bytes,
                      [](std::byte b) { return b == std::byte{0}; }));
    buffer.data()[0] = buffer.data()[bytes - 1] = std::byte{7};
    CHECK(buffer.data()[bytes - 1] == std::byte{7});
  }
}

TEST_CASE("an empty buffer needs no memory") {
  CHECK(HostBuffer().data() == nullptr);
  CHECK(HostBuffer(0).bytes() == 0);
  poison({});
}

TEST_CASE("moving hands the memory over") {
  HostBuffer a(100);
  std::byte* memory = a.data();
  HostBuffer b = std::move(a);
  CHECK(b.data() == memory);
  HostBuffer c(5000);
  c = std::move(b);
  CHECK(c.data() == memory);
  CHECK(c.bytes() == 100);
}

TEST_CASE("memory that cannot be had is an error that names the size") {
  for (const int64_t bytes : {int64_t{1} << 60, INT64_MAX}) {
    CAPTURE(bytes);
    try {
      HostBuffer buffer(bytes);
      FAIL("expected an error");
    } catch (const Error& error) {
      CHECK(error.kind == ErrorKind::environment);
      CHECK(std::string(error.what()).find(std::to_string(bytes)) != std::string::npos);
    }
  }
}

TEST_CASE("poison is NaN in every element type and -1 as an id") {
  HostBuffer buffer(8);
  poison({buffer.data(), 8});
  float f32;
  int32_t i32;
  std::memcpy(&f32, buffer.data(), 4);
  std::memcpy(&i32, buffer.data(), 4);
  CHECK(std::isnan(f32));
  CHECK(i32 == -1);
  CHECK(std::isnan(from_bf16(0xffff)));
  CHECK(std::isnan(from_f16(0xffff)));
  CHECK(std::isnan(from_fp8_e4m3fn(0xff)));
}

}  // namespace
}  // namespace fse
