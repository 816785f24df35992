#include "kernels/vendor_library.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"

namespace fse {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> vendor_directories(Vendor vendor) {
  if (vendor == Vendor::amd) return {"/opt/rocm/lib"};
  return {"/usr/local/cuda/lib64", "/usr/local/cuda/lib"};
}

std::vector<std::string> places(Vendor vendor, std::span<const std::string_view> files,
                                const std::vector<fs::path>& directories) {
  std::vector<std::string> list;
  for (const fs::path& dir : directories)
    for (std::string_view file : files) list.push_back((dir / file).string());
  list.insert(list.end(), files.begin(), files.end());
  for (const fs::path& dir : vendor_directories(vendor))
    for (std::string_view file : files) list.push_back((dir / file).string());
  return list;
}

}  // namespace

Vendor vendor_of(std::string_view arch) {
  if (arch.starts_with("gfx")) return Vendor::amd;
  if (arch.starts_with("sm_")) return Vendor::nvidia;
  fail_usage(fmt::format("architecture {}: expected gfx... or sm_...", arch));
}

void* VendorLibrary::find(const std::string& function) const {
  return dlsym(handle.get(), function.c_str());
}

void VendorLibrary::fail_without(const std::string& function) const {
  throw Error(ErrorKind::environment,
              fmt::format("{} has no function {}: is it a {} library?", file, function, name));
}

VendorLibrary open_vendor_library(const std::string& name, const std::string& arch,
                                  std::span<const std::string_view> files,
                                  const std::vector<fs::path>& directories) {
  const std::vector<std::string> tried = places(vendor_of(arch), files, directories);
  VendorLibrary library{.name = name};
  for (const std::string& file : tried) {
    void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) continue;
    library.file = file;
    // They leave threads and exit handlers behind: they stay loaded until the process ends.
    library.handle = std::shared_ptr<void>(handle, [](void*) {});
    return library;
  }
  throw Error(ErrorKind::environment, fmt::format("no {} for {}: none of {} can be opened", name,
                                                  arch, fmt::join(tried, ", ")));
}

}  // namespace fse
