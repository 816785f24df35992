#pragma once
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fse {

enum class Vendor { amd, nvidia };
// "gfx90a" -> amd, "sm_90" -> nvidia. Throws Error(usage) for anything else.
Vendor vendor_of(std::string_view arch);

// A library of the GPU's vendor. It is opened when it is first wanted, not linked: the same binary
// then starts on machines that have none, whatever FSELAB_GPU was when it was built.
struct VendorLibrary {
  std::string name;  // "NVRTC", "cuBLASLt"
  std::string file;  // what was opened
  std::shared_ptr<void> handle;

  void* find(const std::string& function) const;  // nullptr: it has no such function
  // Throws Error(environment) where it has none.
  template <class F>
  void require(const std::string& function, F& pointer) const {
    pointer = reinterpret_cast<F>(find(function));
    if (!pointer) fail_without(function);
  }

 private:
  [[noreturn]] void fail_without(const std::string& function) const;
};

// The first of `files` that can be opened, looking in `directories`, then where the system looks,
// then where the vendor installs. Throws Error(environment) "no NVRTC for sm_90: none of ... can be
// opened" where none can.
VendorLibrary open_vendor_library(const std::string& name, const std::string& arch,
                                  std::span<const std::string_view> files,
                                  const std::vector<std::filesystem::path>& directories);

}  // namespace fse
