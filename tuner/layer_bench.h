#pragma once
#include <memory>

#include "tuner/step_bench.h"
#include "tuner/workbench.h"

namespace fse {

// What layers are verified on: the workload's first input, then hostile ones.
struct LayerTrial {
  HostileInput input;
  LayerReference reference;
};

// One for each hostile input; the same for every variant of the plan's layer and tokens.
std::vector<LayerTrial> hostile_trials(const LayerPlan&, std::span<const LayerWeights> sets);

// A layer on a session of this process. The workload and the trials, which the first variant that
// is verified makes for all, outlive it.
class LayerBench final : public LayerRunner {
 public:
  LayerBench(LayerPlan plan, std::unique_ptr<Session> session, const Workload& workload,
             std::vector<LayerTrial>& trials)
      : plan_(std::move(plan)),
        session_(std::move(session)),
        workload_(workload),
        trials_(trials) {}
  std::unique_ptr<StepRunner> open_step(size_t step, std::span<const Choice> choices) override {
    return std::make_unique<StepBench>(*session_, plan_, step, choices, workload_);
  }
  LayerCheck verify(std::span<const Choice>) override;
  RunTimes run(std::span<const Choice>, int round, int set) override;
  Load load(std::span<const Choice>, int round) override;

 private:
  int set_of(int set) const {
    return static_cast<int>(static_cast<size_t>(set) % workload_.sets.size());
  }
  const LayerPlan plan_;
  std::unique_ptr<Session> session_;
  const Workload& workload_;
  std::vector<LayerTrial>& trials_;
};

}  // namespace fse
