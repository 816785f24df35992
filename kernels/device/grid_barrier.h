#pragma once
// Barriers of the whole grid: all blocks are resident (cooperative launch). One counter each,
// kBarrierStride words apart. Every launch uses the first and the last, each once. Nobody waits for
// counters to become 0 again: block 0 clears the last one before it arrives at the first, and the
// others behind the last, where nobody needs them any more.
#include "kernels/device/gpu.h"

namespace fse::gpu {

inline constexpr int kLastBarrier = kBarriers - 1;

// What this block has written is seen by whoever waits at the same barrier.
FSE_D void grid_arrive(unsigned* barriers, int which) {
  block_sync();
  if (thread_index() != 0) return;
  if (which == 0 && block_index() == 0) barriers[kLastBarrier * kBarrierStride] = 0;
  add_release(barriers + which * kBarrierStride);
}
FSE_D void grid_wait(unsigned* barriers, int which) {
  if (thread_index() == 0) {
    while (load_acquire(barriers + which * kBarrierStride) !=
           static_cast<unsigned>(block_count())) {
    }
    if (which == kLastBarrier && block_index() == 0)
      for (int i = 0; i < kLastBarrier; ++i) barriers[i * kBarrierStride] = 0;
  }
  block_sync();
}

}  // namespace fse::gpu
