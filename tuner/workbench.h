#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "core/case.h"
#include "core/outcome.h"
#include "kernels/backend.h"
#include "tuner/verify.h"
#include "tuner/workload_sets.h"

namespace fse {

// A device at work, in this process or in a worker: what is asked and what is answered are small
// values, so that a search looks the same for both. What ends an attempt is thrown as AttemptError;
// unless that says that the device is lost, the next call finds everything in place again.

// One step: the steps before it have run, its kernels are verified and timed alone.
class StepRunner {
 public:
  virtual ~StepRunner() = default;
  // Brings back what was lost with the last candidate, so that the next is not blamed for it.
  virtual void restore() {}
  // Computes the float64 references that verify() compares with, where they are not there yet: for
  // a large step that takes seconds, which is no candidate's fault.
  virtual void prepare_reference() = 0;
  // Poisons what the step writes, runs it, and compares with the float64 reference: on the
  // workload's first input, from a graph too where the device replays them, then on hostile
  // inputs; a reason names what it was on.
  virtual Accuracy verify(const Choice&) = 0;
  // These are run soon: see Session::compile().
  virtual void compile(std::span<const Choice> soon) = 0;
  virtual std::optional<KernelResources> resources(const Choice&) = 0;
  // The most memory in use while a choice was last verified; 0: not known.
  virtual int64_t peak_bytes() { return 0; }
  // Runs the step once on the routing of `round` and the next weight set of the rotation.
  virtual double time_us(const Choice&, int round, Stage stage = Stage::screen) = 0;
  // Mean work of the step over the rounds.
  virtual Work work() const = 0;
};

// One plan: all of its steps, with the weights and inputs of the workload.
class LayerRunner {
 public:
  virtual ~LayerRunner() = default;
  // Everything before `step` runs with `choices`, once per round.
  virtual std::unique_ptr<StepRunner> open_step(size_t step, std::span<const Choice> choices) = 0;
  virtual LayerCheck verify(std::span<const Choice>) = 0;
  // The input of `round`, and weight set `set`, counted around.
  virtual RunTimes run(std::span<const Choice>, int round, int set) = 0;
  // What the router chose for the input of `round`: an untimed run.
  virtual Load load(std::span<const Choice>, int round) = 0;
};

// A workload by what it is made from: weights and inputs are drawn from it where the device is.
struct WorkloadSpec {
  Case spec;       // whichever of its variants
  int sets = 1;    // of weights
  int rounds = 1;  // inputs that are drawn, see make_inputs()
};

class Workbench {
 public:
  virtual ~Workbench() = default;
  virtual const DeviceInfo& device() const = 0;
  virtual std::string kernel_toolchain() const = 0;
  virtual double measure_read_gbs() = 0;
  virtual double measure_peak_gflops() = 0;
  // Weights stay where only the inputs change. What was opened before must be gone.
  virtual void set_workload(const WorkloadSpec&) = 0;
  virtual int inputs() const = 0;  // how many there are
  virtual std::unique_ptr<LayerRunner> open(const Variant&) = 0;
  // Whatever is asked next, a fresh process answers; layers and steps open themselves again. False
  // where there is no process to replace.
  virtual bool renew() { return false; }
};

// On a device of this process.
std::unique_ptr<Workbench> open_workbench(std::unique_ptr<Backend>);

}  // namespace fse
