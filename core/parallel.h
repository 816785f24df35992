#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace fse {

inline int cores() {
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

// work(i) for i in [0, n) on up to `most` threads; the first exception is thrown again here.
template <class Work>
void parallel_for(int64_t n, int most, const Work& work) {
  std::atomic<int64_t> next{0};
  std::exception_ptr failure;
  std::mutex lock;
  const auto run = [&] {
    try {
      for (int64_t i; (i = next.fetch_add(1)) < n;) work(i);
    } catch (...) {
      const std::lock_guard<std::mutex> guard(lock);
      if (!failure) failure = std::current_exception();
    }
  };
  const int64_t threads = std::min<int64_t>(std::min(most, cores()), n);
  std::vector<std::jthread> others;
  for (int64_t i = 1; i < threads; ++i) others.emplace_back(run);
  run();
  others.clear();  // joins
  if (failure) std::rethrow_exception(failure);
}

}  // namespace fse
