#include "kernels/cpu/cpu_info.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <set>
#include <sstream>

#include "kernels/cpu/elementwise.h"

namespace fse {
namespace {

namespace fs = std::filesystem;

// The first line of a file; "" where there is none.
std::string first_line(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

// "1024K", "32M", "123456", "max"; -1 for anything that is not a number.
int64_t to_bytes(const std::string& text) {
  std::istringstream in(text);
  int64_t value = 0;
  char unit = 0;
  if (!(in >> value)) return -1;
  in >> unit;
  return unit == 'K' ? value << 10 : unit == 'M' ? value << 20 : unit == 'G' ? value << 30 : value;
}

// Value of "KEY   : value" or "KEY:  value" in a file of such lines.
std::string field(const fs::path& file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const size_t colon = line.find(':');
    if (line.rfind(key, 0) != 0 || colon == std::string::npos) continue;
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

std::vector<int> usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  // More cpus than the set can hold.
  for (int cpu = 0; cpus.empty() && cpu < sysconf(_SC_NPROCESSORS_ONLN); ++cpu) cpus.push_back(cpu);
  return cpus;
}

// What is left of a control group's limit; the largest number where there is none.
int64_t left_of(const fs::path& limit_file, const fs::path& usage_file) {
  const int64_t limit = to_bytes(first_line(limit_file));
  if (limit < 0) return std::numeric_limits<int64_t>::max();
  return std::max<int64_t>(0, limit - std::max<int64_t>(0, to_bytes(first_line(usage_file))));
}

// Folders of the control groups that limit this process: its own, and the root that a container
// sees instead. `controller`: of version 1, as "memory"; "" for version 2.
std::vector<fs::path> own_groups(const SystemFiles& files, const std::string& controller) {
  std::vector<fs::path> dirs;
  std::ifstream in(files.own_cgroups);  // lines "ID:controllers:path"; version 2 has no controllers
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::istringstream controllers(line.substr(first + 1, second - first - 1));
    const std::string path = line.substr(std::min(second + 2, line.size()));
    bool found = controller.empty() && second == first + 1;
    for (std::string name; std::getline(controllers, name, ',');) found |= name == controller;
    const fs::path root = controller.empty() ? files.cgroups : files.cgroups / controller;
    if (found) dirs.insert(dirs.end(), {root, root / path});
  }
  return dirs;
}

}  // namespace

int64_t last_level_cache_bytes(const SystemFiles& files, const std::vector<int>& cpus) {
  std::map<int, std::set<std::string>> seen;  // level -> lists of cpus that share one
  std::map<int, int64_t> total;
  for (int cpu : cpus) {
    const fs::path caches = files.cpus / ("cpu" + std::to_string(cpu)) / "cache";
    for (int i = 0; fs::exists(caches / ("index" + std::to_string(i))); ++i) {
      const fs::path cache = caches / ("index" + std::to_string(i));
      const auto level = static_cast<int>(to_bytes(first_line(cache / "level")));
      const int64_t size = to_bytes(first_line(cache / "size"));
      if (first_line(cache / "type") == "Instruction" || size <= 0) continue;
      if (seen[level].insert(first_line(cache / "shared_cpu_list")).second) total[level] += size;
    }
  }
  return total.count(3) ? total[3] : total.count(2) ? total[2] : 0;
}

int64_t available_memory_bytes(const SystemFiles& files) {
  int64_t bytes = to_bytes(field(files.meminfo, "MemAvailable"));  // "N kB"
  bytes = bytes < 0 ? std::numeric_limits<int64_t>::max() : bytes << 10;
  for (const fs::path& dir : own_groups(files, ""))
    bytes = std::min(bytes, left_of(dir / "memory.max", dir / "memory.current"));
  for (const fs::path& dir : own_groups(files, "memory"))
    bytes = std::min(bytes, left_of(dir / "memory.limit_in_bytes", dir / "memory.usage_in_bytes"));
  return bytes;
}

int allowed_cpus(const SystemFiles& files, int usable) {
  double allowed = usable;
  const auto limit = [&](int64_t quota_us, int64_t period_us) {
    if (quota_us > 0 && period_us > 0)
      allowed = std::min(allowed, static_cast<double>(quota_us) / static_cast<double>(period_us));
  };
  for (const fs::path& dir : own_groups(files, "")) {
    std::istringstream both(first_line(dir / "cpu.max"));  // "200000 100000" or "max 100000"
    std::string quota, period;
    both >> quota >> period;
    limit(to_bytes(quota), to_bytes(period));
  }
  for (const fs::path& dir : own_groups(files, "cpu"))
    limit(to_bytes(first_line(dir / "cpu.cfs_quota_us")),
          to_bytes(first_line(dir / "cpu.cfs_period_us")));
  return std::max(1, static_cast<int>(std::ceil(allowed)));
}

DeviceInfo cpu_info() {
  const SystemFiles files;
  const std::vector<int> cpus = usable_cpus();
  DeviceInfo info{.name = "cpu",
                  .kind = "cpu",
                  .arch = simd_target(),
                  .product = field("/proc/cpuinfo", "model name"),
                  .compute_units = allowed_cpus(files, static_cast<int>(cpus.size())),
                  .memory_bytes = available_memory_bytes(files),
                  .llc_bytes = last_level_cache_bytes(files, cpus),
                  .dtypes = {DType::f32, DType::bf16, DType::f16, DType::fp8_block128}};
  // A virtual machine may hide its caches: then the largest that one socket has, so that a rotation
  // meant to be cold is cold.
  if (info.llc_bytes == 0) info.llc_bytes = int64_t{64} << 20;
  return info;
}

}  // namespace fse
