#include "experiments/worker_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>

#include "core/error.h"
#include "experiments/device_choice.h"
#include "experiments/interrupt.h"
#include "tuner/child_process.h"
#include "tuner/worker.h"

namespace fse {

int run_worker(const std::string& device, pid_t parent) {
  const int answers = begin_child(parent);
  if (answers < 0)
    fail_usage(
        fmt::format("worker: process {} is not its parent; `fselab run` starts workers", parent));
  serve_requests(STDIN_FILENO, answers, [&] { return open_workbench(open_device(device)); });
  return 0;
}

std::unique_ptr<Workbench> open_device_in_worker(const std::string& device,
                                                 const Deadlines& deadlines) {
  return open_worker({.command = {"/proc/self/exe", "worker", "--device", device, "--parent",
                                  std::to_string(getpid())},
                      .deadlines = deadlines,
                      .stop = interrupted});
}

Deadlines read_deadlines(const std::vector<std::string>& words) {
  Deadlines deadlines;
  for (const std::string& word : words) {
    const size_t equals = std::min(word.find('='), word.size());
    const auto stage = from_name<Stage>(word.substr(0, equals));
    const char* const end = word.data() + word.size();
    const char* const begin = std::min(word.data() + equals + 1, end);
    double seconds = 0;
    const auto [stop, error] = std::from_chars(begin, end, seconds);
    if (!stage || error != std::errc() || stop != end || !(seconds > 0 && seconds <= 1e6))
      fail_usage(fmt::format("--deadline '{}', expected STAGE=SECONDS, STAGE one of {}", word,
                             all_names<Stage>()));
    deadlines.of(*stage) = seconds;
  }
  return deadlines;
}

}  // namespace fse
