#pragma once
#include <cstdint>
#include <string>

namespace fse {

// What tells one process from every other, a recycled pid included.
struct ProcessIdentity {
  std::string host, boot_id, pid_namespace;
  int64_t pid = 0;
  int64_t pid_started = 0;  // clock ticks since boot
};

ProcessIdentity this_process();

// False only when `other` has certainly ended. A process of another host or container cannot be
// looked up from here: it counts as alive.
bool may_live(const ProcessIdentity& other, const ProcessIdentity& self);

// Physical memory that this process has now.
int64_t resident_bytes();

}  // namespace fse
