#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "kernels/jit.h"

namespace fse {

// Code objects on disk, one file per key. Advisory: an entry that is missing, unreadable or damaged
// is compiled again, a folder that cannot be written changes nothing but time. Safe for any number
// of processes: an entry appears complete, by rename, or not at all.
class JitCache {
 public:
  JitCache() = default;  // keeps nothing
  explicit JitCache(std::filesystem::path folder) : folder_(std::move(folder)) {}

  std::optional<CodeObject> find(const std::string& key) const;
  // `expression` is for people who read the file; the key says it all. False where it was not kept.
  bool store(const std::string& key, const std::string& expression, const CodeObject&) const;
  std::filesystem::path path(const std::string& key) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace fse
