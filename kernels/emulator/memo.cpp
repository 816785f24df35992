#include "kernels/emulator/memo.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <cstring>

namespace fse {

namespace {

constexpr size_t kMostBytes = size_t{256} << 20;

std::span<std::byte> bytes_of(const DeviceMemory& m) {
  return {static_cast<std::byte*>(const_cast<void*>(m.begin)), m.bytes};
}

}  // namespace

std::string LaunchMemo::key(const EmulatedLaunch& l) {
  std::string text =
      fmt::format("{} {} {} {}\n", l.kernel, l.launch.blocks, l.launch.threads, l.launch.lds_bytes);
  // Of the arguments the sizes and the routing; the rest points to what is hashed next.
  text.append(reinterpret_cast<const char*>(&l.args->n), sizeof l.args->n);
  text.append(reinterpret_cast<const char*>(&l.args->r), sizeof l.args->r);
  for (const DeviceMemory& m : l.memory) {
    if (!m.loaded && !m.stored) continue;
    const XXH128_hash_t hash = XXH3_128bits(m.begin, m.bytes);
    text += fmt::format("{} {} {:x}{:x}\n", m.name, m.bytes, hash.high64, hash.low64);
  }
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

bool LaunchMemo::restore(const std::string& key, const EmulatedLaunch& l) {
  const std::lock_guard lock(mutex_);
  const auto found = results_.find(key);
  if (found == results_.end()) return false;
  const std::byte* from = found->second.data();
  for (const DeviceMemory& m : l.memory)
    if (m.stored) {
      std::memcpy(bytes_of(m).data(), from, m.bytes);
      from += m.bytes;
    }
  return true;
}

void LaunchMemo::keep(const std::string& key, const EmulatedLaunch& l) {
  std::vector<std::byte> all;
  for (const DeviceMemory& m : l.memory)
    if (m.stored) all.insert(all.end(), bytes_of(m).begin(), bytes_of(m).end());
  const std::lock_guard lock(mutex_);
  if (bytes_ + all.size() > kMostBytes) return;
  bytes_ += all.size();
  results_.emplace(key, std::move(all));
}

}  // namespace fse
