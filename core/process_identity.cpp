#include "core/process_identity.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <optional>
#include <sstream>

namespace fse {

namespace {

std::string first_line(const char* file) {
  std::string line;
  std::ifstream in(file);
  std::getline(in, line);
  return line;
}

struct ProcessState {
  char state = '?';  // Z: ended, but its parent has not looked yet
  int64_t started = 0;
};

// Nothing where /proc shows no such process. The command's name stands in parentheses and may hold
// anything: fields are counted behind the last one.
std::optional<ProcessState> state_of(int64_t pid) {
  const std::string line = first_line(fmt::format("/proc/{}/stat", pid).c_str());
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(name_end + 1));
  ProcessState found;
  fields >> found.state;
  std::string skipped;
  for (int number = 4; number < 22; ++number) fields >> skipped;
  if (!(fields >> found.started)) return std::nullopt;
  return found;
}

}  // namespace

ProcessIdentity this_process() {
  ProcessIdentity id;
  utsname system{};
  if (uname(&system) == 0) id.host = system.nodename;
  id.boot_id = first_line("/proc/sys/kernel/random/boot_id");
  char link[64] = {};
  if (readlink("/proc/self/ns/pid", link, sizeof link - 1) > 0) id.pid_namespace = link;
  id.pid = getpid();
  if (const auto state = state_of(id.pid)) id.pid_started = state->started;
  return id;
}

int64_t resident_bytes() {
  std::istringstream pages(first_line("/proc/self/statm"));
  int64_t all = 0, resident = 0;
  pages >> all >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

bool may_live(const ProcessIdentity& other, const ProcessIdentity& self) {
  if (other.host != self.host) return true;
  if (other.boot_id != self.boot_id) return false;
  if (other.pid_namespace != self.pid_namespace) return true;
  if (kill(static_cast<pid_t>(other.pid), 0) != 0 && errno == ESRCH) return false;
  const auto state = state_of(other.pid);
  return !state || (state->started == other.pid_started && state->state != 'Z');
}

}  // namespace fse
