#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace fse {

// Before and behind every buffer that kernels write lie bytes that nobody may write: a store
// outside the buffer is found there. A whole row of most layers.
inline constexpr int64_t kGuardBytes = 4096;
inline constexpr std::byte kGuard{0xa5};

inline void fill_guard(std::byte* from) {
  std::memset(from, static_cast<int>(kGuard), static_cast<size_t>(kGuardBytes));
}
inline bool is_guard(const std::byte* from) {
  return std::all_of(from, from + kGuardBytes, [](std::byte byte) { return byte == kGuard; });
}
// Whether both guards of a buffer were whole; they are afterwards, so that the next kernel is not
// blamed for this one's store.
inline bool take_guards(std::byte* buffer, int64_t bytes) {
  std::byte *before = buffer - kGuardBytes, *behind = buffer + bytes;
  const bool whole = is_guard(before) && is_guard(behind);
  if (!whole) fill_guard(before), fill_guard(behind);
  return whole;
}
inline std::string stored_outside(const std::string& buffer, int64_t bytes) {
  return "a store outside buffer " + buffer + " (" + std::to_string(bytes) + " bytes)";
}

}  // namespace fse
