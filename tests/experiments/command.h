#pragma once
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/core/store_fixture.h"

namespace fse::test {

inline std::string read_text(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

inline void write_text(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// A layer that takes microseconds.
inline const char* const kTinyConfig =
    R"({"model_type": "qwen3_next", "hidden_size": 128, "moe_intermediate_size": 128,
  "num_experts": 8, "num_experts_per_tok": 2, "norm_topk_prob": true,
  "shared_expert_intermediate_size": 128, "num_hidden_layers": 1})";

struct Result {
  int exit_code = -1;  // 128 + N where signal N ended it, as a shell says
  std::string out, err;
};

// The real command as a process of its own, in a folder, its outputs in files there. One that is
// still running when its test ends is killed.
class Command {
 public:
  Command(const std::filesystem::path& folder, std::vector<std::string> arguments,
          const std::string& name = "command")
      : out_(folder / (name + ".out")), err_(folder / (name + ".err")) {
    arguments.insert(arguments.begin(), FSELAB_COMMAND);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    // Threads that wait by spinning would make a loaded machine wait for its scheduler instead.
    std::string passive = "OMP_WAIT_POLICY=passive";
    std::vector<char*> environment{passive.data()};
    for (char** entry = environ; *entry != nullptr; ++entry) environment.push_back(*entry);
    environment.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
    const int flags = O_WRONLY | O_CREAT | O_TRUNC;
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out_.c_str(), flags, 0644);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err_.c_str(), flags, 0644);
    const int error =
        posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environment.data());
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw std::runtime_error("no process for " + arguments.front());
  }
  ~Command() {
    if (pid_ > 0) send(SIGKILL), wait();
  }
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  void send(int signal) const { kill(pid_, signal); }
  std::string err() const { return read_text(err_); }

  bool running() {
    if (pid_ > 0 && waitpid(pid_, &status_, WNOHANG) == pid_) pid_ = 0;
    return pid_ > 0;
  }

  Result wait() {
    if (pid_ > 0) waitpid(pid_, &status_, 0);
    pid_ = 0;
    return {.exit_code = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_),
            .out = read_text(out_),
            .err = read_text(err_)};
  }

 private:
  std::filesystem::path out_, err_;
  pid_t pid_ = 0;
  int status_ = 0;
};

inline Result fselab(const std::filesystem::path& folder, std::vector<std::string> arguments) {
  return Command(folder, std::move(arguments)).wait();
}

}  // namespace fse::test
