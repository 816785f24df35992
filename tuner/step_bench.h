#pragma once
#include <string>
#include <vector>

#include "tuner/hostile.h"
#include "tuner/workbench.h"

namespace fse {

// One step of a plan on a session of this process: what it reads is in place, as the steps before
// it left it, for a few rounds of routing.
class StepBench final : public StepRunner {
 public:
  // Runs the steps before `step` with `choices`, once per round; a whole layer too, whose work only
  // its own routing tells.
  StepBench(Session&, const LayerPlan&, size_t step, std::span<const Choice> choices,
            const Workload&);
  void prepare_reference() override;
  Accuracy verify(const Choice&) override;
  void compile(std::span<const Choice> soon) override;
  std::optional<KernelResources> resources(const Choice& choice) override {
    return session_.resources(static_cast<int>(index_), choice);
  }
  double time_us(const Choice&, int round, Stage stage = Stage::screen) override;
  Work work() const override { return work_; }
  int64_t peak_bytes() override { return peak_bytes_; }

 private:
  using Snapshot = std::vector<std::pair<Buf, Matrix>>;
  // What a choice is verified on: the workload's first input, then hostile ones.
  struct Trial {
    HostileInput input;
    RefState inputs;    // everything the step reads
    RefState expected;  // what it should write, and its small inputs
  };
  Snapshot snapshot() const;
  void restore(const Snapshot&);
  void add_work();
  RefState expected_of(const Trial&) const;
  Trial hostile_trial(HostileInput);
  void place(size_t trial);
  enum class From { stream, graph };
  std::optional<Accuracy> verify_on(size_t trial, const Choice&, From);

  Session& session_;
  const LayerPlan& plan_;
  const Step& step_;
  const size_t index_;
  const Workload& workload_;
  std::vector<Snapshot> rounds_;       // the small buffers the step reads: ids, weights, logits
  const std::vector<Choice> choices_;  // of the steps before
  std::vector<Trial> trials_;          // the hostile ones are made when first needed
  std::optional<size_t> placed_ = 0;   // the trial whose large buffers are in place
  Work work_;
  int64_t peak_bytes_ = 0;
  size_t next_set_ = 0;
};

}  // namespace fse
