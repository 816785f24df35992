#include "tuner/hostile.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/routing.h"
#include "reference_session.h"
#include "small_layer.h"
#include "tuner/step_bench.h"
#include "tuner/verify.h"

using namespace fse;

namespace {

struct Subject {
  LayerSpec layer = small_layer();
  Workload workload = small_workload(layer, 4);
  LayerPlan plan = legal_plans(layer, 4).front();
  ReferenceSession session{plan, workload.sets};
  std::vector<Choice> choices{plan.steps.size()};

  size_t step_of(Op op) const {
    size_t step = 0;
    while (plan.steps[step].op != op) ++step;
    return step;
  }
  StepBench bench(Op op) { return {session, plan, step_of(op), choices, workload}; }
  std::vector<int> chosen(const HostileInput& input, int token) {
    session.set_input(input.x);
    session.run(choices, input.set);
    std::vector<int> ids;
    for (int j = 0; j < layer.routing.top_k; ++j)
      ids.push_back(static_cast<int>(session.read(Buf::topk_ids)(token, j)));
    return ids;
  }
};

}  // namespace

TEST_CASE("hostile inputs: one goes to the same experts with all tokens, one has zeros and a NaN") {
  Subject subject;
  const auto inputs = hostile_inputs(subject.workload.sets, 4);
  REQUIRE(inputs.size() == 2);
  for (const HostileInput& input : inputs) CHECK(input.set == 1);
  for (int token = 1; token < 4; ++token)
    CHECK(subject.chosen(inputs[0], token) == subject.chosen(inputs[0], 0));
  CHECK(inputs[1].x.front() == 0);
  CHECK(std::isnan(inputs[1].x.back()));
  CHECK(subject.chosen(inputs[1], 0) == std::vector{0, 1});  // ties: the lower id first
  const auto alone = hostile_inputs(subject.workload.sets, 1);
  CHECK(alone[1].x.back() == 0);
}

TEST_CASE("a kernel that is right on the usual input only is found out, with the input's name") {
  Subject subject;
  StepBench bench = subject.bench(Op::grouped_stage1);
  const auto step = static_cast<int>(subject.step_of(Op::grouped_stage1));
  CHECK(bench.verify({}).ok());

  // Drops the rows of an expert beyond the third.
  subject.session.fault = [&](int i, const Choice&, RefState& state) {
    if (i != step) return;
    const Matrix& offsets = state[Buf::expert_offsets];
    for (int e = 0; e < subject.plan.expert_count(); ++e)
      for (auto row = static_cast<Eigen::Index>(offsets(0, e)) + 3; row < offsets(0, e + 1); ++row)
        state[Buf::h].row(row).setZero();
  };
  CHECK(bench.verify({}).first_bad.find("one expert takes all: h[") == 0);

  // One token's NaN spoils its neighbours.
  subject.session.fault = [&](int i, const Choice&, RefState& state) {
    if (i == step && !state[Buf::h].allFinite()) state[Buf::h].setConstant(std::nan(""));
  };
  CHECK(bench.verify({}).first_bad.find("hostile rows: h[") == 0);
}

TEST_CASE("what is timed is the usual input again, also behind a verification that was cut short") {
  Subject subject;
  StepBench bench = subject.bench(Op::grouped_stage2);
  const auto step = static_cast<int>(subject.step_of(Op::grouped_stage2));
  const Matrix before = subject.session.read(Buf::h);
  CHECK(bench.verify({}).ok());
  CHECK(subject.session.read(Buf::h) != before);
  int calls = 0;
  subject.session.fault = [&](int i, const Choice&, RefState&) {
    if (i == step && ++calls == 2) throw AttemptError(Status::out_of_memory, "no panels");
  };
  CHECK_THROWS_AS(bench.verify({}), AttemptError);
  bench.time_us({}, 0);
  CHECK(subject.session.read(Buf::h) == before);
}

TEST_CASE("B15: a NaN at any position of any output that is defined fails the step") {
  Subject subject;
  for (size_t i = 0; i < subject.plan.steps.size(); ++i) {
    StepBench bench(subject.session, subject.plan, i, subject.choices, subject.workload);
    const Step& step = subject.plan.steps[i];
    RefState inputs;
    for (Buf id : step.reads) inputs[id] = subject.session.read(id);
    for (Buf id : step.writes) {
      const Buffer& buffer = *subject.plan.find(id);
      const Matrix defined =
          defined_part(subject.plan, step, id, inputs, Matrix::Ones(buffer.rows, buffer.cols));
      for (Eigen::Index at = 0; at < defined.size(); ++at) {
        if (defined.data()[at] == 0) continue;
        subject.session.fault = [&](int, const Choice&, RefState& state) {
          state[id].data()[at] = std::nan("");
        };
        CAPTURE(step.name);
        CAPTURE(to_name(id));
        CAPTURE(at);
        CHECK_FALSE(bench.verify({}).ok());
      }
    }
    subject.session.fault = [](int, const Choice&, RefState&) {};
  }
}
