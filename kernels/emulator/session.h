#pragma once
#include <array>
#include <memory>
#include <vector>

#include "kernels/device/tiles.h"
#include "kernels/emulator/counters.h"
#include "kernels/emulator/instances.h"
#include "kernels/emulator/machine.h"
#include "kernels/emulator/memo.h"

namespace fse {

// One plan on the emulated device. Times are those of the host, and compare with nothing.
class EmulatorSession final : public Session {
 public:
  EmulatorSession(std::shared_ptr<HostInstances>, std::shared_ptr<LaunchMemo>, const DeviceInfo&,
                  int host_threads, const LayerPlan&, std::vector<LayerWeights> sets);
  void set_input(std::span<const float> x) override;
  void poison_buffers() override;
  RunTimes run(std::span<const Choice> choices, int set) override;
  double run_step(int step, const Choice& choice, int set) override;
  std::optional<KernelCounters> count_step(int step, const Choice& choice, int set) override;
  Matrix read(Buf) const override;
  void write(Buf, const Matrix&) override;
  void evict_caches() override {}

 private:
  struct Memory {
    std::vector<std::byte> bytes;  // guard, buffer, guard
    std::byte* begin = nullptr;
  };
  const Buffer& buffer(Buf) const;
  std::byte* memory(Buf id) const { return memory_[static_cast<size_t>(id)].begin; }
  void compile(std::span<const int> steps, std::span<const Choice>);
  EmulatedLaunch launch_of(const gpu::Args&, int step, const Choice&, int set);
  double launch(int step, const Choice&, int set);
  void multiply(const Step&, gpu::Args&);
  gpu::Args args(const Step&, int set);
  std::vector<DeviceMemory> device_memory(const Step&, int set) const;
  void check_guards(const std::string& kernel) const;

  std::shared_ptr<HostInstances> instances_;
  std::shared_ptr<LaunchMemo> memo_;
  const DeviceInfo device_;
  const int host_threads_;
  const LayerPlan plan_;
  std::vector<LayerWeights> sets_;  // in the device's fp8
  std::array<Memory, kBufCount> memory_;
  std::array<unsigned, gpu::kBarrierWords> barrier_{};
  std::vector<float> products_;
  uint64_t seed_ = 1;  // another order of threads in every launch
};

}  // namespace fse
