#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/device/tiles.h"

namespace fse::gpu::host {
struct Machine;
}

namespace fse {

// What a kernel may touch beside its LDS.
struct DeviceMemory {
  std::string name;
  const void* begin;
  size_t bytes;
  bool loaded, stored;  // what this kernel may do
};

class LaunchCounters;

// One launch of a kernel on the emulated device.
struct EmulatedLaunch {
  std::string kernel;  // as errors name it
  void (*run)(gpu::host::Machine*, const gpu::Args*);
  const gpu::Args* args;
  std::vector<DeviceMemory> memory;  // without overlap
  gpu::Launch launch;
  int wave;
  bool cooperative;                    // blocks wait for each other: all run side by side
  uint64_t seed;                       // of the order in which threads take turns
  int host_threads;                    // blocks at a time
  LaunchCounters* counters = nullptr;  // counts, where wanted
};

// Runs all blocks. Throws AttemptError(wrong) naming kernel, block, thread, file and line where
// - threads wait for each other in vain, or meet in different places;
// - two threads touch a byte of LDS, one of them storing, without a barrier between, in whichever
//   order they ran here;
// - LDS is read that nobody has written, or that a copy not waited for is still writing;
// - a load or store is outside the block's LDS and every buffer, or in one that the op does not
// declare.
void emulate(const EmulatedLaunch&);

}  // namespace fse
