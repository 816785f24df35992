#include "kernels/hip/microbench.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/error.h"
#include "kernels/hip/capture.h"

namespace fse {
namespace {

constexpr unsigned kReadThreads = 512, kTouchThreads = 256;
constexpr int64_t kVector = 16;

// Instances of kernels/device/calibrate.h; whether they compile is tested without a GPU.
const char* const kHeader = "calibrate.h";
constexpr int kWidenRounds = 4096;

class HipMicrobench final : public Microbench {
 public:
  explicit HipMicrobench(std::shared_ptr<HipDevice> device);
  std::optional<double> chain_us(Chain, int links) override;
  double read_us(int workgroups, int64_t footprint, int rounds) override;
  double copy_us(int64_t bytes) override;
  std::optional<double> shared_read_us(int64_t main_bytes, int64_t side_bytes) override;
  std::optional<double> widen_gops() override;
  Limits limits() override;

 private:
  const LoadedKernel& kernel(const std::string& name) {
    return device_->load({kHeader, "fse::gpu::" + name}, 0);
  }
  template <class Work>
  double time(const Work&);
  void touch(hipStream_t, const LoadedKernel&, int64_t offset, bool dependent);
  void links(Chain, int count);
  void read(hipStream_t, int workgroups, int64_t offset, int64_t bytes, int rounds);
  double barrier_us(int count);
  // Where bytes begin that no read of the last while has touched.
  int64_t next_offset(int64_t bytes);

  std::shared_ptr<HipDevice> device_;
  int64_t buffer_bytes_;
  DeviceMemory buffer_, sink_;
  Event from_, to_, fork_, join_;
  int64_t offset_ = 0;
  std::map<std::pair<Chain, int>, GraphExec> graphs_;
};

// Eight last-level caches, so that rotating through it finds nothing there; zeros.
HipMicrobench::HipMicrobench(std::shared_ptr<HipDevice> device)
    : device_(std::move(device)),
      buffer_bytes_(std::max<int64_t>(int64_t{2} << 30, 8 * device_->info().llc_bytes)),
      buffer_((device_->use(), allocate(buffer_bytes_))),
      sink_(allocate(256)),
      from_(make_event(/*timed=*/true)),
      to_(make_event(/*timed=*/true)),
      fork_(make_event(/*timed=*/false)),
      join_(make_event(/*timed=*/false)) {
  FSE_GPU(
      hipMemsetAsync(buffer_.get(), 0, static_cast<size_t>(buffer_bytes_), device_->main_stream()));
  FSE_GPU(hipStreamSynchronize(device_->main_stream()));
}

template <class Work>
double HipMicrobench::time(const Work& work) {
  return timed_us(device_->main_stream(), from_, to_, work);
}

void HipMicrobench::touch(hipStream_t stream, const LoadedKernel& kernel, int64_t offset,
                          bool dependent) {
  void* data = static_cast<std::byte*>(buffer_.get()) + offset;
  void* params[] = {&data};
  FSE_GPU(launch(kernel.function, static_cast<unsigned>(device_->info().compute_units),
                 kTouchThreads, 0, dependent, stream, params));
}

void HipMicrobench::links(Chain chain, int count) {
  const hipStream_t main = device_->main_stream(), side = device_->side_stream();
  const bool dependent = chain == Chain::dependent;
  const bool empty = chain == Chain::graph || chain == Chain::stream;
  const LoadedKernel& link = kernel(empty ? "nothing<1>" : dependent ? "touch<1>" : "touch<2>");
  for (int i = 0; i < count; ++i) {
    if (chain == Chain::forked) {
      FSE_GPU(hipEventRecord(fork_.get(), main));
      FSE_GPU(hipStreamWaitEvent(side, fork_.get(), 0));
      touch(side, link, int64_t{1} << 20, false);
      FSE_GPU(hipEventRecord(join_.get(), side));
    }
    touch(main, link, 0, dependent && i > 0);
    if (chain == Chain::forked) FSE_GPU(hipStreamWaitEvent(main, join_.get(), 0));
  }
}

double HipMicrobench::barrier_us(int count) {
  const LoadedKernel& chain = kernel("barrier_chain");
  void* counter = sink_.get();
  void* params[] = {&counter, &count};
  FSE_GPU(hipMemsetAsync(counter, 0, 256, device_->main_stream()));
  return time([&] {
    FSE_GPU(launch_cooperative(chain.function, static_cast<unsigned>(device_->info().compute_units),
                               kTouchThreads, 0, device_->main_stream(), params));
  });
}

std::optional<double> HipMicrobench::chain_us(Chain chain, int count) {
  device_->use();
  if (chain == Chain::dependent && !device_->info().dependent_launch) return std::nullopt;
  if (chain == Chain::barrier && !device_->info().experts_fused) return std::nullopt;
  if (chain == Chain::barrier) return barrier_us(count);
  if (chain == Chain::stream) return time([&] { links(chain, count); });
  GraphExec& graph = graphs_[{chain, count}];
  if (!graph) {
    links(chain, 2);  // outside any graph first: modules may load lazily
    FSE_GPU(hipStreamSynchronize(device_->main_stream()));
    graph = capture(device_->main_stream(), [&] { links(chain, count); });
    FSE_GPU(hipGraphLaunch(graph.get(), device_->main_stream()));
  }
  return time([&] { FSE_GPU(hipGraphLaunch(graph.get(), device_->main_stream())); });
}

int64_t HipMicrobench::next_offset(int64_t bytes) {
  check(bytes <= buffer_bytes_, "the buffer holds what is read");
  if (offset_ + bytes > buffer_bytes_) offset_ = 0;
  const int64_t at = offset_;
  offset_ += bytes;
  return at;
}

void HipMicrobench::read(hipStream_t stream, int workgroups, int64_t offset, int64_t bytes,
                         int rounds) {
  const LoadedKernel& reader = kernel("read_all");
  void* data = static_cast<std::byte*>(buffer_.get()) + offset;
  void* sink = sink_.get();
  long long vectors = bytes / kVector;
  void* params[] = {&data, &vectors, &rounds, &sink};
  FSE_GPU(launch(reader.function, static_cast<unsigned>(workgroups), kReadThreads, 0, false, stream,
                 params));
}

double HipMicrobench::read_us(int workgroups, int64_t footprint, int rounds) {
  device_->use();
  const hipStream_t stream = device_->main_stream();
  const int64_t offset = next_offset(footprint);
  if (rounds > 1) read(stream, workgroups, offset, footprint, 1);  // now it is in the cache
  return time([&] { read(stream, workgroups, offset, footprint, rounds); });
}

double HipMicrobench::copy_us(int64_t bytes) {
  device_->use();
  check(2 * bytes <= buffer_bytes_, "the buffer holds source and target");
  auto* data = static_cast<std::byte*>(buffer_.get());
  return time([&] {
    FSE_GPU(hipMemcpyAsync(data + bytes, data, static_cast<size_t>(bytes), hipMemcpyDeviceToDevice,
                           device_->main_stream()));
  });
}

std::optional<double> HipMicrobench::shared_read_us(int64_t main_bytes, int64_t side_bytes) {
  device_->use();
  const hipStream_t main = device_->main_stream(), side = device_->side_stream();
  const int units = device_->info().compute_units;
  const int64_t main_at = next_offset(main_bytes), side_at = next_offset(side_bytes);
  return time([&] {
    if (side_bytes > 0) {
      FSE_GPU(hipEventRecord(fork_.get(), main));
      FSE_GPU(hipStreamWaitEvent(side, fork_.get(), 0));
      read(side, units, side_at, side_bytes, 1);
      FSE_GPU(hipEventRecord(join_.get(), side));
    }
    read(main, units, main_at, main_bytes, 1);
    if (side_bytes > 0) FSE_GPU(hipStreamWaitEvent(main, join_.get(), 0));
  });
}

std::optional<double> HipMicrobench::widen_gops() {
  device_->use();
  const DeviceInfo& info = device_->info();
  if (std::find(info.dtypes.begin(), info.dtypes.end(), DType::fp8_block128) == info.dtypes.end())
    return std::nullopt;
  const LoadedKernel& widen = kernel(fmt::format("widen_rate<{}>", kWidenRounds));
  void *operands = buffer_.get(), *sink = sink_.get();
  void* params[] = {&operands, &sink};
  const unsigned blocks = static_cast<unsigned>(info.compute_units) * 8;
  const double us = time([&] {
    FSE_GPU(
        launch(widen.function, blocks, kTouchThreads, 0, false, device_->main_stream(), params));
  });
  return static_cast<double>(blocks) * kTouchThreads * kWidenRounds * 16 / us * 1e-3;
}

Microbench::Limits HipMicrobench::limits() {
  device_->use();
  const int index = device_->index();
  const auto attribute = [&](auto which) {
    int value = 0;
    FSE_GPU(hipDeviceGetAttribute(&value, which, index));
    return value;
  };
  int driver = 0;
  FSE_GPU(hipDriverGetVersion(&driver));
  const double khz = attribute(hipDeviceAttributeMemoryClockRate);
  const double bits = attribute(hipDeviceAttributeMemoryBusWidth);
  return {.clock_ghz = attribute(hipDeviceAttributeClockRate) * 1e-6,
          .peak_gbs = 2 * khz * 1e3 * bits / 8 * 1e-9,  // two transfers a clock
          .driver = fmt::format("{} driver {}, {}, clocks {} MHz and {} MHz (memory)", kRuntimeName,
                                driver, device_->jit().compiler(),
                                attribute(hipDeviceAttributeClockRate) / 1000,
                                attribute(hipDeviceAttributeMemoryClockRate) / 1000)};
}

}  // namespace

std::unique_ptr<Microbench> open_hip_microbench(std::shared_ptr<HipDevice> device) {
  return std::make_unique<HipMicrobench>(std::move(device));
}

}  // namespace fse
