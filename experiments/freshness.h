#pragma once
#include <string>
#include <vector>

#include "core/store.h"

namespace fse {

// Environment::compiler of what this fselab would run: its own compiler, and that of the device's
// kernels, where another one makes them.
std::string compilers_text(const std::string& kernel_toolchain);

// Whether what an environment measured is what would run here and now.
struct Freshness {
  std::string changed;    // kernels or compilers are others: how; "" = none that was seen
  std::string elsewhere;  // its device is not the one of that name here: what is; "" = it is
  std::string unchecked;  // why the device could not be asked; "" = it was
};
Freshness freshness_of(const Environment& then, const DeviceInfo& here,
                       const std::string& kernel_toolchain);
// `kernels`: catalogue rows that were measured. The device is opened where it is here.
Freshness freshness_of(const Environment& then, const std::vector<std::string>& kernels);

}  // namespace fse
