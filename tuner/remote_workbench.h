#pragma once
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tuner/workbench.h"

namespace fse {

// Seconds that one request may take, by what it is for. They are there to end hangs, not to judge:
// the slowest tile of a large step on a busy machine has to fit.
struct Deadlines {
  std::array<double, kNames<Stage>.size()> seconds{1800, 300, 120, 60, 60, 1800, 120};
  double& of(Stage stage) { return seconds[static_cast<size_t>(stage)]; }
  double of(Stage stage) const { return seconds[static_cast<size_t>(stage)]; }
};

struct WorkerSpec {
  std::vector<std::string> command;  // what serves requests on standard input and output
  Deadlines deadlines;
  // What kernels, compilers and drivers leak is given back: so many are verified by one worker.
  int most_attempts = 500;
  // Asked while the device's ceilings are measured, which takes seconds and may be done again.
  std::function<bool()> stop = {};
};

// A device in a process of its own. A request that takes too long ends as Status::timed_out, one
// during which the worker dies as Status::crashed, with the signal and its last words; the next
// request starts another worker and brings workload, layers and step back first.
// Throws Error(environment) where the worker does not start or cannot open its device.
std::unique_ptr<Workbench> open_worker(WorkerSpec);

}  // namespace fse
