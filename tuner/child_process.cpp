#include "tuner/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "core/error.h"

namespace fse {
namespace {

using Clock = std::chrono::steady_clock;

// A socket, so that writing to a dead child is an error and no SIGPIPE.
struct Ends {
  int ours = -1, childs = -1;
};

Ends make_ends() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    throw Error(ErrorKind::environment, fmt::format("worker: no pipe: {}", strerror(errno)));
  return {ends[0], ends[1]};
}

// Null-terminated, as exec takes it.
std::vector<char*> pointers_to(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Ours, and that threads sleep between two launches: OpenMP's spin for milliseconds, which on a
// shared machine is time of those who have work (a small sweep beside a busy compiler took 94 s
// instead of 6). Inside a launch they meet at barriers of their own.
std::vector<std::string> child_environment() {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) variables.push_back(*variable);
  if (getenv("OMP_WAIT_POLICY") == nullptr) variables.push_back("OMP_WAIT_POLICY=passive");
  return variables;
}

pid_t spawn(std::vector<std::string> command, int in, int out, int err) {
  std::vector<std::string> variables = child_environment();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);  // no Ctrl-C of the terminal's
  pid_t pid = -1;
  const int error = posix_spawn(&pid, command.front().c_str(), &actions, &attributes,
                                pointers_to(command).data(), pointers_to(variables).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0)
    throw Error(ErrorKind::environment,
                fmt::format("worker: {} does not start: {}", command.front(), strerror(error)));
  return pid;
}

std::string death_of(int status) {
  if (WIFEXITED(status)) return fmt::format("exit code {}", WEXITSTATUS(status));
  const int signal = WTERMSIG(status);
  return fmt::format("signal {} ({})", signal, strsignal(signal));
}

int milliseconds_until(Clock::time_point deadline) {
  const double left = std::chrono::duration<double, std::milli>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp(std::ceil(left), 0.0, 1e9));
}

// Whether the child ends in this time; it is not reaped.
bool ends_within(pid_t pid, double seconds) {
  const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                           std::chrono::duration<double>(seconds));
  while (true) {
    siginfo_t info{};
    if (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid == pid)
      return true;
    if (Clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& command) : errors_(std::tmpfile()) {
  if (!errors_)
    throw Error(ErrorKind::environment,
                fmt::format("worker: no temporary file: {}", strerror(errno)));
  fcntl(fileno(errors_.get()), F_SETFD, FD_CLOEXEC);
  const Ends to = make_ends(), from = make_ends();
  to_ = to.ours;
  from_ = from.ours;
  try {
    pid_ = spawn(command, to.childs, from.childs, fileno(errors_.get()));
  } catch (...) {
    for (const int end : {to.ours, to.childs, from.ours, from.childs}) close(end);
    throw;
  }
  close(to.childs);
  close(from.childs);
}

ChildProcess::~ChildProcess() {
  kill();
  close(to_);
  close(from_);
}

bool ChildProcess::send(const std::string& line) const {
  const std::string text = line + "\n";
  for (size_t sent = 0; sent < text.size();) {
    const ssize_t n = ::send(to_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (n > 0) sent += static_cast<size_t>(n);
    if (n < 0 && errno != EINTR) return false;
  }
  return true;
}

ChildProcess::End ChildProcess::ask(const std::string& line, double seconds, std::string& answer,
                                    const std::function<bool()>& stop) {
  constexpr int kStopMilliseconds = 100;  // how long a wait does not look whether it is to stop
  const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                           std::chrono::duration<double>(seconds));
  bool open = pid_ > 0 && send(line);
  size_t end = std::string::npos;
  while (open && (end = received_.find('\n')) == std::string::npos) {
    pollfd waiting{.fd = from_, .events = POLLIN, .revents = 0};
    const int left = milliseconds_until(deadline);
    const int ready = poll(&waiting, 1, stop ? std::min(left, kStopMilliseconds) : left);
    if (ready <= 0 && stop && stop()) {
      kill();
      return End::stopped;
    }
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0 && left > kStopMilliseconds && stop) continue;
    if (ready == 0) {
      kill();
      return End::late;
    }
    char buffer[65536];
    const ssize_t n = read(from_, buffer, sizeof buffer);
    if (n > 0) received_.append(buffer, static_cast<size_t>(n));
    open = n > 0 || (n < 0 && errno == EINTR);
  }
  if (end == std::string::npos) {
    bury();
    return End::ended;
  }
  answer = received_.substr(0, end);
  received_.erase(0, end + 1);
  return End::answered;
}

void ChildProcess::kill() {
  if (pid_ <= 0) return;
  ::kill(-pid_, SIGKILL);
  bury();
}

// Its pipe is closed or it was killed: it ends soon. One that is stuck in a driver may not, and is
// left to itself: what matters is that the run goes on.
void ChildProcess::bury() {
  if (pid_ <= 0) return;
  if (!ends_within(pid_, 1)) ::kill(-pid_, SIGKILL);
  const bool ended = ends_within(pid_, 3);
  ::kill(-pid_, SIGKILL);  // what it started: its group is its own as long as it is not reaped
  int status = 0;
  death_ = ended && waitpid(pid_, &status, 0) == pid_ ? death_of(status)
                                                      : "no end: it does not react to SIGKILL";
  pid_ = -1;
}

std::string ChildProcess::last_words() const {
  constexpr int64_t kMost = 1000;
  const int file = fileno(errors_.get());
  const int64_t size = lseek(file, 0, SEEK_END);
  std::string text(static_cast<size_t>(std::min(size, kMost)), '\0');
  const ssize_t n = pread(file, text.data(), text.size(), std::max<int64_t>(0, size - kMost));
  text.resize(static_cast<size_t>(std::max<ssize_t>(n, 0)));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::string line;
  for (const char c : text)
    line += c == '\n' ? std::string(" | ") : std::string(1, c >= ' ' && c < 127 ? c : '?');
  return line;
}

int begin_child(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (parent != 0 && getppid() != parent) return -1;
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  const int answers = dup(STDOUT_FILENO);
  fcntl(answers, F_SETFD, FD_CLOEXEC);
  dup2(STDERR_FILENO, STDOUT_FILENO);
  return answers;
}

}  // namespace fse
