#pragma once
#include <cstddef>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/emulator/machine.h"

namespace fse {

// What launches left behind, by all they depend on: code, arguments and the contents of what they
// may touch. The variants of a layer share most of their launches, and one that was run is right
// or wrong once and for all.
class LaunchMemo {
 public:
  static std::string key(const EmulatedLaunch&);  // what is about to be launched
  bool restore(const std::string& key, const EmulatedLaunch&);
  void keep(const std::string& key, const EmulatedLaunch&);

 private:
  std::mutex mutex_;
  size_t bytes_ = 0;
  std::unordered_map<std::string, std::vector<std::byte>> results_;  // of what may be stored
};

}  // namespace fse
