#include "kernels/cpu/team.h"

#include <algorithm>
#include <thread>

namespace fse {
namespace {

// About 10 us: longer than threads that have a core each are ever apart at the end of a balanced
// step; beyond that the partner has probably lost its core, and yielding gives it one.
constexpr int kSpins = 400;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

template <class Done>
void spin_until(const Done& done, const std::atomic<int>& given_up) {
  for (int i = 0; !done(); ++i) {
    if (given_up.load(std::memory_order_relaxed) != 0) throw GivenUp();
    if (i < kSpins)
      relax();
    else
      std::this_thread::yield();
  }
}

}  // namespace

Instant Barrier::wait() {
  if (threads_ == 1) return Instant::clock::now();
  const int generation = generation_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    const Instant now = Instant::clock::now();
    released_ = now;
    generation_.store(generation + 1, std::memory_order_release);
    return now;
  }
  spin_until([&] { return generation_.load(std::memory_order_acquire) != generation; }, given_up_);
  return released_;
}

void wait_for(const std::atomic<int>& flag, const std::atomic<int>& given_up) {
  spin_until([&] { return flag.load(std::memory_order_acquire) != 0; }, given_up);
}

std::byte* Scratch::reserve(int slot, int64_t bytes) {
  HostBuffer& buffer = buffers_[static_cast<size_t>(slot)];
  // Twice what is needed, so that growing batches settle quickly.
  if (bytes > buffer.bytes()) buffer = HostBuffer(2 * bytes);
  return buffer.data();
}

std::pair<int64_t, int64_t> Team::share(int64_t n, int64_t grain) const {
  const int64_t units = (n + grain - 1) / grain;
  const auto bound = [&](int64_t rank) { return std::min(n, units * rank / size_ * grain); };
  return {bound(rank_), bound(rank_ + 1)};
}

}  // namespace fse
