#pragma once
#include <cstdint>
#include <string>

#include "kernels/device/tiles.h"

namespace fse::gpu::host {
struct Machine;
}

namespace fse {

// One launch of a kernel on the emulated device.
struct EmulatedLaunch {
  std::string kernel;  // as errors name it
  void (*run)(gpu::host::Machine*, const gpu::Args*);
  const gpu::Args* args;
  gpu::Launch launch;
  int wave;
  bool cooperative;  // blocks wait for each other: all run side by side
  uint64_t seed;     // of the order in which threads take turns
  int host_threads;  // blocks at a time
};

// Runs all blocks. Throws AttemptError(wrong) naming kernel, block, thread, file and line where
// threads wait for each other in vain, lanes of a wave meet in different places, or a store left
// its block's LDS.
void emulate(const EmulatedLaunch&);

}  // namespace fse
