#include "kernels/emulator/machine.h"

#include "core/error.h"
#include "core/parallel.h"
#include "kernels/emulator/group.h"

namespace fse {

void emulate(const EmulatedLaunch& launch) {
  const gpu::Launch& l = launch.launch;
  check(l.threads % launch.wave == 0, "a block is whole waves");
  if (launch.cooperative) return emulated::Group(launch, 0, l.blocks).run();
  parallel_for(l.blocks, launch.host_threads,
               [&](int64_t block) { emulated::Group(launch, static_cast<int>(block), 1).run(); });
}

}  // namespace fse
