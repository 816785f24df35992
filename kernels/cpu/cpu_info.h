#pragma once
#include <filesystem>
#include <vector>

#include "core/device.h"

namespace fse {

// The cpu this process may use, as the system describes it.
DeviceInfo cpu_info();

// Where the system tells. Tests have their own.
struct SystemFiles {
  std::filesystem::path cpus = "/sys/devices/system/cpu";
  std::filesystem::path meminfo = "/proc/meminfo";
  std::filesystem::path own_cgroups = "/proc/self/cgroup";
  std::filesystem::path cgroups = "/sys/fs/cgroup";
};
// Sum of the distinct last-level caches of these cpus: L3, or L2 where there is no L3; 0: unknown.
int64_t last_level_cache_bytes(const SystemFiles&, const std::vector<int>& cpus);
// What the system has available, and not more than the control group has left.
int64_t available_memory_bytes(const SystemFiles&);
// Of `usable` cpus, as many as the control group's quota pays for, rounded up.
int allowed_cpus(const SystemFiles&, int usable);

}  // namespace fse
