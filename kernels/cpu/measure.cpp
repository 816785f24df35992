#include "kernels/cpu/measure.h"

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "core/host_buffer.h"
#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/measure.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fse::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;
using F32 = hn::ScalableTag<float>;
using Vec = hn::Vec<F32>;

// Eight sums: enough loads in flight; the result depends on all of them.
float sum_here(const float* data, int64_t n) {
  constexpr int kSums = 8;
  const auto lanes = static_cast<int64_t>(hn::Lanes(F32()));
  Vec sum[kSums];
  for (Vec& s : sum) s = hn::Zero(F32());
  for (int64_t i = 0; i + kSums * lanes <= n; i += kSums * lanes)
    for (int j = 0; j < kSums; ++j) sum[j] = hn::Add(sum[j], hn::Load(F32(), data + i + j * lanes));
  for (int j = 1; j < kSums; ++j) sum[0] = hn::Add(sum[0], sum[j]);
  return hn::GetLane(hn::SumOfLanes(F32(), sum[0]));
}

// `rounds` times twelve independent multiply-adds: two a cycle, five cycles each, need ten. Returns
// the multiply-adds done, and a value that depends on all of them in `sink`.
double multiply_add_here(int64_t rounds, float* sink) {
  constexpr int kChains = 12;
  const Vec a = hn::Set(F32(), 0.999f), b = hn::Set(F32(), 0.001f);
  Vec x[kChains];
  for (int c = 0; c < kChains; ++c) x[c] = hn::Set(F32(), static_cast<float>(c));
  for (int64_t i = 0; i < rounds; ++i)
    for (Vec& chain : x) chain = hn::MulAdd(chain, a, b);
  for (int c = 1; c < kChains; ++c) x[0] = hn::Add(x[0], x[c]);
  *sink = hn::GetLane(hn::SumOfLanes(F32(), x[0]));
  return static_cast<double>(rounds) * kChains * static_cast<double>(hn::Lanes(F32()));
}

}  // namespace
}  // namespace fse::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fse {
namespace {

HWY_EXPORT(sum_here);
HWY_EXPORT(multiply_add_here);

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// A thread's part of n in whole cache lines of 16 floats.
std::pair<int64_t, int64_t> part_of(int64_t n, int rank, int threads) {
  const auto bound = [&](int r) { return n / 16 * r / threads * 16; };
  return {bound(rank), bound(rank + 1)};
}

}  // namespace

double stream_through(std::span<const std::byte> bytes, int threads) {
  const auto* data = reinterpret_cast<const float*>(bytes.data());
  const auto n = static_cast<int64_t>(bytes.size() / sizeof(float));
  float total = 0;
  // Nobody begins before the last one comes to the barrier: that is the start, however late a
  // thread that lost its core would look at the clock.
  Clock::rep start = 0;
#pragma omp parallel num_threads(threads) reduction(+ : total) reduction(max : start)
  {
    start = Clock::now().time_since_epoch().count();
#pragma omp barrier
    const auto [begin, end] = part_of(n, omp_get_thread_num(), omp_get_num_threads());
    total += HWY_DYNAMIC_DISPATCH(sum_here)(data + begin, end - begin);
  }
  const double seconds = seconds_since(Clock::time_point(Clock::duration(start)));
  [[maybe_unused]] volatile float sink = total;
  return seconds;
}

double measure_read_gbs(const DeviceInfo& device) {
  // Eight times the caches, so that what stays in them adds little, but not more than half of what
  // is there.
  const int64_t wanted = std::max(int64_t{1} << 28, 8 * device.llc_bytes);
  HostBuffer buffer(std::min(wanted, device.memory_bytes / 2 / 64 * 64));
  std::byte* data = buffer.data();
  // Each page is touched first by the thread that will read it: it lies in that thread's memory.
#pragma omp parallel num_threads(device.compute_units)
  {
    const auto [begin, end] =
        part_of(buffer.bytes() / 4, omp_get_thread_num(), omp_get_num_threads());
    std::memset(data + 4 * begin, 1, static_cast<size_t>(4 * (end - begin)));
  }
  double best = 0;
  for (int pass = 0; pass < 7; ++pass) {
    const double seconds =
        stream_through({data, static_cast<size_t>(buffer.bytes())}, device.compute_units);
    best = std::max(best, static_cast<double>(buffer.bytes()) / seconds / 1e9);
  }
  return best;
}

double measure_peak_gflops(const DeviceInfo& device) {
  constexpr int64_t kRounds = 4'000'000;  // about 10 ms
  double best = 0;
  for (int pass = 0; pass < 5; ++pass) {
    double done = 0;
    const auto start = Clock::now();
#pragma omp parallel num_threads(device.compute_units) reduction(+ : done)
    {
      float result = 0;
      done += HWY_DYNAMIC_DISPATCH(multiply_add_here)(kRounds, &result);
      [[maybe_unused]] volatile float sink = result;
    }
    best = std::max(best, 2 * done / seconds_since(start) / 1e9);
  }
  return best;
}

}  // namespace fse
#endif
