#include "kernels/cpu/cpu_microbench.h"

#include <omp.h>
#include <sys/utsname.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>

#include "core/host_buffer.h"
#include "kernels/cpu/measure.h"
#include "kernels/cpu/team.h"

namespace fse {
namespace {

using Clock = std::chrono::steady_clock;
double us_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

class CpuMicrobench final : public Microbench {
 public:
  // Four caches and at least 256 MB, but not more than a quarter of what is there.
  explicit CpuMicrobench(const DeviceInfo& device)
      : threads_(device.compute_units),
        buffer_(std::min(std::max(int64_t{1} << 28, 4 * device.llc_bytes),
                         device.memory_bytes / 4 / 4096 * 4096)) {
    std::memset(buffer_.data(), 1, static_cast<size_t>(buffer_.bytes()));
  }

  std::optional<double> chain_us(Chain chain, int links) override {
    if (chain == Chain::graph || chain == Chain::stream) return barriers_us(links, 0);
    if (chain == Chain::touching) return barriers_us(links, 4096);
    return std::nullopt;
  }

  double read_us(int workgroups, int64_t footprint, int rounds) override {
    const std::span<const std::byte> part = next(footprint);
    if (rounds > 1) stream_through(part, workgroups);  // now it is in the cache
    double seconds = 0;
    for (int round = 0; round < rounds; ++round) seconds += stream_through(part, workgroups);
    return seconds * 1e6;
  }

  double copy_us(int64_t bytes) override {
    std::byte* data = buffer_.data();
    const int64_t n = std::min(bytes, buffer_.bytes() / 2);
    const auto start = Clock::now();
#pragma omp parallel num_threads(threads_)
    {
      const int64_t at = n / threads_ * omp_get_thread_num();
      std::memcpy(data + n + at, data + at, static_cast<size_t>(n / threads_));
    }
    return us_since(start) * static_cast<double>(bytes) / static_cast<double>(n);
  }

  // The second stream has half of the threads, whether it is used or not.
  std::optional<double> shared_read_us(int64_t main_bytes, int64_t side_bytes) override {
    if (threads_ < 2) return std::nullopt;
    const std::span<const std::byte> first = next(main_bytes), second = next(side_bytes);
    const auto start = Clock::now();
    std::thread side([&] {
      if (side_bytes > 0) stream_through(second, threads_ / 2);
    });
    stream_through(first, threads_ - threads_ / 2);
    side.join();
    return us_since(start);
  }

  std::optional<double> widen_gops() override {
    return std::nullopt;
  }  // part of its loads

  Limits limits() override {
    utsname system{};
    uname(&system);
    double mhz = 0;
    std::ifstream info("/proc/cpuinfo");
    for (std::string line; std::getline(info, line);)
      if (line.starts_with("cpu MHz"))
        mhz = std::max(mhz, std::strtod(line.substr(line.find(':') + 1).c_str(), nullptr));
    return {.clock_ghz = mhz / 1e3,
            .peak_gbs = 0,
            .driver = std::string(system.sysname) + " " + system.release};
  }

 private:
  // What lies in no cache: the buffer in turn.
  std::span<const std::byte> next(int64_t bytes) {
    bytes = std::min(bytes, buffer_.bytes());
    if (offset_ + bytes > buffer_.bytes()) offset_ = 0;
    const std::span<const std::byte> part{buffer_.data() + offset_, static_cast<size_t>(bytes)};
    offset_ += bytes / 4096 * 4096;
    return part;
  }

  double barriers_us(int links, int64_t touched) {
    const std::atomic<int> given_up{0};
    Barrier barrier(threads_, given_up);
    Clock::time_point start;
#pragma omp parallel num_threads(threads_)
    {
      std::byte* mine = buffer_.data() + 65536 * omp_get_thread_num();
      barrier.wait();
      if (omp_get_thread_num() == 0) start = Clock::now();
      for (int i = 0; i < links; ++i) {
        for (int64_t at = 0; at < touched; at += 8) ++reinterpret_cast<uint64_t&>(mine[at]);
        barrier.wait();
      }
    }
    return us_since(start);
  }

  int threads_;
  HostBuffer buffer_;
  int64_t offset_ = 0;
};

}  // namespace

std::unique_ptr<Microbench> open_cpu_microbench(const DeviceInfo& device) {
  return std::make_unique<CpuMicrobench>(device);
}

}  // namespace fse
