#pragma once
#include <array>
#include <atomic>
#include <memory>
#include <vector>

#include "core/phases.h"
#include "kernels/backend.h"
#include "kernels/cpu/team.h"

namespace fse {

class CpuSession final : public Session {
 public:
  CpuSession(const LayerPlan&, std::vector<LayerWeights> sets, const DeviceInfo&);
  void set_input(std::span<const float> x) override;
  void poison_buffers() override;
  RunTimes run(std::span<const Choice> choices, int set) override;
  double run_step(int step, const Choice& choice, int set) override;
  Matrix read(Buf) const override;
  void write(Buf, const Matrix&) override;
  void evict_caches() override;

 private:
  struct Region;  // what the threads of one run share
  void shield(const Buffer&);
  void check_guards();
  void check_choice(const Step&, const Choice&) const;
  void run_thread(Region&, int rank);
  void run_lane(Region&, const Lane&, Barrier&, int lane_rank, Scratch&, Instant start);
  Instant ready_at(Region&, const Step&, const Lane&, Instant) const;
  std::vector<Phase> alone(int step, int threads) const;
  RunTimes run_phases(std::span<const Choice>, int set, const std::vector<int>& steps);
  const Buffer& buffer(Buf) const;

  const LayerPlan plan_;
  const std::vector<LayerWeights> sets_;
  const DeviceInfo device_;
  std::array<HostBuffer, kBufCount> storage_;  // guard, buffer, guard
  std::array<void*, kBufCount> pointers_{};
  std::vector<Scratch> scratch_;  // per thread
  HostBuffer eviction_;
};

}  // namespace fse
