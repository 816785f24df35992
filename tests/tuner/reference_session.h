#pragma once
#include <functional>
#include <vector>

#include "kernels/backend.h"

namespace fse {

// A device for tests of the tuner: every step is its own float64 reference, rounded to f32, so that
// it is right by construction; times and faults are what the test says.
class ReferenceSession : public Session {
 public:
  ReferenceSession(const LayerPlan& plan, std::vector<LayerWeights> sets)
      : plan_(plan), sets_(std::move(sets)) {
    poison_buffers();
  }

  std::function<double(int step, const Choice&, int call)> time_us = [](int, const Choice&, int) {
    return 100.0;
  };
  // Called after a step ran: may damage what it wrote.
  std::function<void(int step, const Choice&, RefState&)> fault = [](int, const Choice&,
                                                                     RefState&) {};
  int calls = 0;
  // Whether the weights of this set lie in a cache when a step runs; asked before each.
  std::function<bool(int set)> ran_set = [](int) { return false; };
  bool was_warm = false;

  void set_input(std::span<const float> x) override {
    Matrix& input = state_[Buf::x];
    input.resize(plan_.tokens, plan_.layer.hidden);
    for (Eigen::Index i = 0; i < input.size(); ++i)
      input.data()[i] = double{x[static_cast<size_t>(i)]};
  }
  void poison_buffers() override {
    for (const Buffer& buffer : plan_.buffers) {
      if (buffer.id == Buf::x) continue;
      const double value = buffer.element == Element::i32 ? -1 : std::nan("");
      state_[buffer.id] = Matrix::Constant(buffer.rows, buffer.cols, value);
    }
  }
  RunTimes run(std::span<const Choice> choices, int set) override {
    RunTimes times;
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      times.step_us.push_back(run_step(static_cast<int>(i), choices[i], set));
      times.layer_us += times.step_us.back();
    }
    return times;
  }
  double run_step(int step, const Choice& choice, int set) override {
    was_warm = ran_set(set);
    const Step& s = plan_.steps[static_cast<size_t>(step)];
    op_def(s.op).reference(plan_, s, sets_[static_cast<size_t>(set)], state_);
    for (Buf id : s.writes) state_[id] = state_[id].cast<float>().cast<double>();
    fault(step, choice, state_);
    return time_us(step, choice, calls++);
  }
  // Devices that replay graphs run a step so, too; `graph_fault` as `fault`.
  bool graphs = false;
  std::function<void(const Choice&, RefState&)> graph_fault = [](const Choice&, RefState&) {};
  bool replay_step(int step, const Choice& choice, int set) override {
    if (!graphs) return false;
    run_step(step, choice, set);
    graph_fault(choice, state_);
    return true;
  }
  Matrix read(Buf id) const override { return state_[id]; }
  void write(Buf id, const Matrix& values) override { state_[id] = values; }
  void evict_caches() override {}

 private:
  const LayerPlan& plan_;
  std::vector<LayerWeights> sets_;
  RefState state_;
};

}  // namespace fse
