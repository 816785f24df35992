#pragma once
#include <vector>

#include "core/outcome.h"
#include "kernels/backend.h"
#include "tuner/workload_sets.h"

namespace fse {

// One step of a plan on a bench: what it reads is in place, as the steps before it left it, for a
// few rounds of routing. Its kernels are then verified and timed alone.
class StepBench {
 public:
  // Runs the steps before `step` with `choices`, once per round; a whole layer too, whose work only
  // its own routing tells.
  StepBench(Session&, const LayerPlan&, size_t step, std::span<const Choice> choices,
            const Workload&);

  // Computes the float64 reference that verify() compares with, where it is not there yet: for a
  // large step that takes a second, which is no candidate's fault.
  void prepare_reference();
  // Poisons what the step writes, runs it once, and compares with the float64 reference.
  Accuracy verify(const Choice&);
  void compile(std::span<const Choice> soon) { session_.compile(static_cast<int>(index_), soon); }
  std::optional<KernelResources> resources(const Choice& choice) {
    return session_.resources(static_cast<int>(index_), choice);
  }
  // Runs the step once on the routing of `round` and the next weight set of the rotation.
  double time_us(const Choice&, int round);
  // Mean work of the step over the rounds.
  Work work() const { return work_; }

 private:
  using Snapshot = std::vector<std::pair<Buf, Matrix>>;
  Snapshot snapshot() const;
  void restore(const Snapshot&);
  void add_work();

  Session& session_;
  const LayerPlan& plan_;
  const Step& step_;
  const size_t index_;
  const Workload& workload_;
  std::vector<Snapshot> rounds_;  // the small buffers the step reads: ids, weights, logits
  RefState inputs_;               // everything the step reads, of round 0
  RefState expected_;             // of round 0, made when first needed
  bool expected_ready_ = false;
  Work work_;
  size_t next_set_ = 0;
};

}  // namespace fse
