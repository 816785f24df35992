#pragma once
// Logits of a few tokens from the blocks that have them to all blocks. Value and number of the
// launch are one word, so who reads the number has the value: no barrier, whose arrival waits for
// stores to be seen and whose counter is one more way to memory and back.
#include "kernels/device/grid_barrier.h"

namespace fse::gpu {

// Nobody clears a word: it counts as empty in every other launch. The launch's one barrier takes
// turns between two counters, so that the other one can be cleared.
struct Mail {
  unsigned* barriers;
  u32 launch;

  FSE_D explicit Mail(const Args& a) : barriers(a.barrier), launch(0) {}
  // Before anything else, but not before the predecessor has ended.
  FSE_D void open() { launch = barriers[kLaunchCount * kBarrierStride] + 1; }

  FSE_D u64* word(i64 token, int row) const {
    return reinterpret_cast<u64*>(barriers + kMailBegin) + token * kMailRows + row;
  }
  FSE_D void send(i64 token, int row, float value) const {
    store_whole(word(token, row), u64{launch} << 32 | __float_as_uint(value));
  }
  FSE_D int counter(u32 of_launch) const {
    return kLaunchCount + 1 + static_cast<int>(of_launch & 1);
  }
  FSE_D void arrive() const { grid_arrive(barriers, counter(launch)); }
  FSE_D void wait() const {
    grid_wait(barriers, counter(launch));
    if (block_index() != 0 || thread_index() != 0) return;
    barriers[counter(launch + 1) * kBarrierStride] = 0;
    barriers[kLaunchCount * kBarrierStride] = launch;
  }
};

// A token's logits as they arrive. What does not exist is NaN.
struct MailedLogits {
  const Mail& mail;
  i64 token;

  template <int kCount, class Row>
  FSE_D void read(float (&to)[kCount], Row row_of) const {
    bool all = false;
    while (!all) {
      u64 got[kCount];
#pragma unroll
      for (int i = 0; i < kCount; ++i)
        got[i] = row_of(i) >= 0 ? load_whole(mail.word(token, row_of(i)))
                                : u64{mail.launch} << 32 | 0x7fc00000u;
      all = true;
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        all &= static_cast<u32>(got[i] >> 32) == mail.launch;
        to[i] = __uint_as_float(static_cast<u32>(got[i]));
      }
    }
  }
};

}  // namespace fse::gpu
