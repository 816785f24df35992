#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <utility>

#include "core/plan.h"
#include "core/weights.h"

namespace fse {

// What a cpu kernel sees: the plan's shapes, one weight set, and a pointer per buffer.
struct CpuArgs {
  const LayerPlan& plan;
  const Step& step;
  const LayerWeights& weights;
  const std::array<void*, kBufCount>& buffers;

  float* f32(Buf id) const { return static_cast<float*>(buffers[static_cast<size_t>(id)]); }
  int32_t* i32(Buf id) const { return static_cast<int32_t*>(buffers[static_cast<size_t>(id)]); }
};

// Threads that wait for each other: spins briefly, then yields (cores may be shared).
class Barrier {
 public:
  explicit Barrier(int threads) : threads_(threads) {}
  void wait();

 private:
  const int threads_;
  std::atomic<int> arrived_{0};
  std::atomic<int> generation_{0};
};

// Kernels are written from the view of one thread of a team: all call the same function, share
// out the work by rank, and meet at barriers. A step ends with a barrier of the team by itself.
class Team {
 public:
  Team(int rank, int size, Barrier& barrier, std::atomic<int64_t>& counter)
      : rank_(rank), size_(size), barrier_(barrier), counter_(counter) {}
  int rank() const { return rank_; }
  int size() const { return size_; }
  void wait() { barrier_.wait(); }
  // This thread's contiguous share of [0, n), in whole units of `grain` but for the last.
  std::pair<int64_t, int64_t> share(int64_t n, int64_t grain = 1) const;
  // The next piece of dynamically shared work; the backend resets it to 0 before each step.
  int64_t next() { return counter_.fetch_add(1, std::memory_order_relaxed); }

 private:
  int rank_, size_;
  Barrier& barrier_;
  std::atomic<int64_t>& counter_;
};

}  // namespace fse
