#pragma once
#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "tuner/remote_workbench.h"

namespace fse {

// `fselab worker`: owns a device and answers its parent's requests until that ends. The exit code.
int run_worker(const std::string& device, pid_t parent);

// The device of a run, in a worker of this very program.
std::unique_ptr<Workbench> open_device_in_worker(const std::string& device, const Deadlines&);

// Deadlines from words such as "verify=30"; Error(usage) for others.
Deadlines read_deadlines(const std::vector<std::string>& words);

}  // namespace fse
