#include "kernels/emulator/program.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sstream>

#include "core/error.h"
#include "core/read_file.h"

extern char** environ;

namespace fse {

namespace fs = std::filesystem;

int run_program(const std::vector<std::string>& words, int channel, const fs::path& output) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, channel, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                   0600);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return 127;
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

fs::path temporary_folder() {
  std::string name = (fs::temp_directory_path() / "fselab-emulator-XXXXXX").string();
  if (!mkdtemp(name.data()))
    throw Error(ErrorKind::environment,
                "cannot make a folder for kernels in " + fs::temp_directory_path().string());
  return name;
}

std::string source_line(const void* code) {
  Dl_info library{};
  if (!dladdr(code, &library)) return "an unknown line";
  const auto offset =  // of the call, which ends one byte before
      static_cast<const char*>(code) - static_cast<const char*>(library.dli_fbase) - 1;
  const fs::path folder = temporary_folder(), output = folder / "lines";
  run_program({"addr2line", "-i", "-e", library.dli_fname, fmt::format("{:#x}", offset)}, 1,
              output);
  std::istringstream lines(read_file(output).value_or(""));
  fs::remove_all(folder);
  std::string found = "an unknown line";
  for (std::string line; std::getline(lines, line);) {
    line =
        fs::path(line.substr(0, line.find(' '))).filename();  // "dispatch.h:55 (discriminator 3)"
    if (line.starts_with('?')) continue;
    found = line;
    if (!line.starts_with("gpu.h:") && !line.starts_with("host.h:")) break;
  }
  return found;
}

}  // namespace fse
