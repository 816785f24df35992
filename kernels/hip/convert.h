#pragma once
#include <cstring>
#include <span>
#include <vector>

#include "core/dtype.h"
#include "core/parallel.h"
#include "core/plan.h"

namespace fse {

// work(first, last) for the parts of [0, n): what experts wrote of a thousand tokens takes a second
// to convert on one thread.
template <class Work>
void by_parts(size_t n, const Work& work) {
  constexpr size_t kPart = size_t{1} << 18;
  parallel_for(static_cast<int64_t>((n + kPart - 1) / kPart), /*most=*/16, [&](int64_t part) {
    const size_t first = static_cast<size_t>(part) * kPart;
    work(first, std::min(first + kPart, n));
  });
}

// Values to a buffer's bytes, rounded to nearest even, and back, exactly.
template <class T>
std::vector<std::byte> encode(Element element, std::span<const T> values) {
  const auto size = static_cast<size_t>(element_bytes(element));
  std::vector<std::byte> bytes(values.size() * size);
  const auto store = [&](auto convert) {
    by_parts(values.size(), [&](size_t first, size_t last) {
      for (size_t i = first; i < last; ++i) {
        const auto stored = convert(values[i]);
        std::memcpy(bytes.data() + i * size, &stored, sizeof stored);
      }
    });
  };
  switch (element) {
    case Element::f32:
      store([](T v) { return static_cast<float>(v); });
      break;
    case Element::i32:
      store([](T v) { return static_cast<int32_t>(v); });
      break;
    case Element::bf16:
      store([](T v) { return to_bf16(static_cast<float>(v)); });
      break;
    case Element::f16:
      store([](T v) { return to_f16(static_cast<float>(v)); });
      break;
  }
  return bytes;
}

inline void decode(Element element, std::span<const std::byte> bytes, std::span<double> values) {
  const auto size = static_cast<size_t>(element_bytes(element));
  const auto load = [&]<class Stored>(Stored, auto convert) {
    by_parts(values.size(), [&](size_t first, size_t last) {
      for (size_t i = first; i < last; ++i) {
        Stored stored;
        std::memcpy(&stored, bytes.data() + i * size, sizeof stored);
        values[i] = static_cast<double>(convert(stored));
      }
    });
  };
  switch (element) {
    case Element::f32:
      return load(float{}, [](float v) { return v; });
    case Element::i32:
      return load(int32_t{}, [](int32_t v) { return v; });
    case Element::bf16:
      return load(uint16_t{}, from_bf16);
    case Element::f16:
      return load(uint16_t{}, from_f16);
  }
}

}  // namespace fse
