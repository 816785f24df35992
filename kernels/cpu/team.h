#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "core/host_buffer.h"
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

// Thrown where a thread waits for others of which one has given up: it has thrown something else.
struct GivenUp {};

// When the last of some threads came: the same instant for all of them, however late each notices.
using Instant = std::chrono::steady_clock::time_point;

// Threads that wait for each other: spins briefly, then yields (cores may be shared). Waiting
// returns when the last one came, and throws GivenUp once `given_up` is nonzero.
class Barrier {
 public:
  Barrier(int threads, const std::atomic<int>& given_up) : threads_(threads), given_up_(given_up) {}
  Instant wait();

 private:
  const int threads_;
  const std::atomic<int>& given_up_;
  std::atomic<int> arrived_{0};
  std::atomic<int> generation_{0};
  Instant released_;  // written by the last to come, read by all before any of them comes again
};

// Spins, then yields, until `flag` is nonzero, or throws GivenUp.
void wait_for(const std::atomic<int>& flag, const std::atomic<int>& given_up);

// One thread's working memory: kept from step to step, so that no step pays for page faults.
class Scratch {
 public:
  static constexpr int kSlots = 4;
  // 64-byte aligned, contents undefined; what an earlier call for the same slot returned is gone.
  template <class T>
  std::span<T> get(int slot, int64_t count) {
    return {reinterpret_cast<T*>(reserve(slot, count * static_cast<int64_t>(sizeof(T)))),
            static_cast<size_t>(count)};
  }

 private:
  std::byte* reserve(int slot, int64_t bytes);
  std::array<HostBuffer, kSlots> buffers_;
};

// Kernels are written from the view of one thread of a team: all call the same function and share
// out the work by rank. A step ends with a barrier of the team; there is none inside a kernel.
class Team {
 public:
  Team(int rank, int size, std::atomic<int64_t>& counter, Scratch& scratch)
      : rank_(rank), size_(size), counter_(counter), scratch_(scratch) {}
  int rank() const { return rank_; }
  int size() const { return size_; }
  // This thread's contiguous share of [0, n), in whole units of `grain` but for the last.
  std::pair<int64_t, int64_t> share(int64_t n, int64_t grain = 1) const;
  // The next piece of dynamically shared work; the backend resets it to 0 before each step.
  int64_t next() { return counter_.fetch_add(1, std::memory_order_relaxed); }
  Scratch& scratch() { return scratch_; }
  // The team of its first `n` threads, 0 for all of them; nothing for the others.
  std::optional<Team> first(int n) const {
    if (n == 0 || n >= size_) return *this;
    if (rank_ >= n) return std::nullopt;
    Team part = *this;
    part.size_ = n;
    return part;
  }

 private:
  int rank_, size_;
  std::atomic<int64_t>& counter_;
  Scratch& scratch_;
};

// The pieces [0, n) of a step that this thread does: claimed one by one, or a contiguous share.
template <class Work>
void for_each_piece(Team& team, int64_t n, bool dynamic, const Work& work) {
  const auto [begin, end] = dynamic ? std::pair<int64_t, int64_t>{0, 0} : team.share(n);
  for (int64_t i = begin; i < end; ++i) work(i);
  if (!dynamic) return;
  for (int64_t i; (i = team.next()) < n;) work(i);
}

}  // namespace fse
