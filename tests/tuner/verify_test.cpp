#include "tuner/verify.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cmath>
#include <limits>

#include "reference_session.h"
#include "small_layer.h"
#include "tuner/step_bench.h"

using namespace fse;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Matrix ramp(Eigen::Index rows, Eigen::Index cols) {
  Matrix m(rows, cols);
  for (Eigen::Index i = 0; i < m.size(); ++i)
    m.data()[i] = std::sin(static_cast<double>(i) + 1) - 2;
  return m;
}

std::vector<Choice> no_choices(const LayerPlan& plan) {
  return std::vector<Choice>(plan.steps.size());
}

}  // namespace

TEST_CASE("an equal result passes, with error zero") {
  const Accuracy accuracy = compare(ramp(3, 4), ramp(3, 4), 1e-6, "out");
  CHECK(accuracy.ok());
  CHECK(accuracy.rel_frobenius == 0);
}

TEST_CASE("B15: one NaN or infinity fails at every position") {
  for (double poison : {kNaN, double{INFINITY}, -double{INFINITY}})
    for (Eigen::Index i = 0; i < 12; ++i) {
      Matrix got = ramp(3, 4);
      got.data()[i] = poison;
      const Accuracy accuracy = compare(got, ramp(3, 4), 1e3, "out");
      CHECK_FALSE(accuracy.ok());
      CHECK(accuracy.first_bad.find("out[" + std::to_string(i / 4) + "," + std::to_string(i % 4)) ==
            0);
    }
}

TEST_CASE("one wrong element fails although the whole is close") {
  Matrix got = ramp(100, 100);
  got(50, 7) += 1e-3;
  const Accuracy accuracy = compare(got, ramp(100, 100), 1e-5, "out");
  CHECK(accuracy.rel_frobenius < 1e-5);
  CHECK_FALSE(accuracy.ok());
  CHECK(accuracy.first_bad.find("out[50,7]") == 0);
}

TEST_CASE("B16: errors around negative and zero references count as much as around positive ones") {
  rc::check("compare is symmetric in sign", [] {
    const auto values = *rc::gen::container<std::vector<int>>(4, rc::gen::inRange(-50, 50));
    Matrix want(2, 2);
    for (size_t i = 0; i < 4; ++i) want.data()[i] = values[i];
    Matrix got = want;
    got(1, 0) += 0.5;
    const Accuracy plus = compare(got, want, 1e-3, "out");
    const Accuracy minus = compare(-got, -want, 1e-3, "out");
    RC_ASSERT(!plus.ok());
    RC_ASSERT(plus.rel_frobenius == minus.rel_frobenius);
  });
}

TEST_CASE("a few results that cancel are judged by the size of what cancelled") {
  const Matrix want = Matrix::Constant(1, 1, 1e-6), got = Matrix::Constant(1, 1, 1.03e-6);
  CHECK_FALSE(compare(got, want, 1e-6, "shared_logits").ok());
  CHECK(compare(got, want, 1e-6, "shared_logits", 1).ok());
  CHECK_FALSE(compare(got, want, 1e-8, "shared_logits", 1).ok());
}

TEST_CASE("a result of another shape or of an all-zero reference is judged, not divided by zero") {
  CHECK_FALSE(compare(ramp(2, 3), ramp(3, 2), 1, "out").ok());
  const Matrix zero = Matrix::Zero(2, 2);
  CHECK(compare(zero, zero, 1e-6, "out").ok());
  CHECK_FALSE(compare(ramp(2, 2), zero, 1e-6, "out").ok());
}

TEST_CASE("routing: a clear margin must be kept, a near tie may go either way") {
  const LayerPlan plan = legal_plans(small_layer(), 1).front();
  Matrix scores(1, 8);
  scores << 0.3, 0.2, 0.2 - 1e-9, 0.1, 0.05, 0.05, 0.05, 0.05;
  Matrix ids(1, 2);
  ids << 1, 0;
  CHECK(compare_routing(plan, nullptr, scores, ids, 0).equal == 1);
  ids << 0, 2;
  const RoutingAgreement tie = compare_routing(plan, nullptr, scores, ids, 1e-6);
  CHECK(tie.ok());
  CHECK(tie.near_ties == 1);
  ids << 0, 3;
  CHECK_FALSE(compare_routing(plan, nullptr, scores, ids, 1e-6).ok());
}

TEST_CASE("routing: repeated, fractional and foreign ids and misplaced slots are named") {
  LayerPlan plan;
  for (const LayerPlan& candidate : legal_plans(small_layer(), 1))
    if (candidate.has_slots()) plan = candidate;
  REQUIRE(plan.choices() == 4);
  const Matrix scores = Matrix::Constant(1, 8, 0.125);
  Matrix ids(1, 4);
  ids << 0, 1, 8, 9;
  CHECK(compare_routing(plan, nullptr, scores, ids, 0).ok());
  for (const auto& [column, value] : std::initializer_list<std::pair<int, double>>{
           {1, 0}, {1, 8}, {1, -1}, {0, 0.5}, {0, kNaN}, {2, 9}, {3, 8}, {3, kNaN}}) {
    Matrix bad = ids;
    bad(0, column) = value;
    CAPTURE(column);
    CAPTURE(value);
    CHECK_FALSE(compare_routing(plan, nullptr, scores, bad, 0).ok());
  }
}

TEST_CASE("every step of every variant verifies, and a damaged element of any output does not") {
  const LayerSpec layer = small_layer();
  const Workload workload = small_workload(layer, 3);
  for (const LayerPlan& plan : legal_plans(layer, 3))
    for (size_t i = 0; i < plan.steps.size(); ++i) {
      CAPTURE(to_label(plan.variant));
      CAPTURE(plan.steps[i].name);
      ReferenceSession session(plan, workload.sets);
      StepBench bench(session, plan, i, no_choices(plan), workload);
      CHECK(bench.verify({}).ok());
      for (Buf id : plan.steps[i].writes) {
        session.fault = [&](int step, const Choice&, RefState& state) {
          if (step == static_cast<int>(i)) state[id](0, 0) += 3;
        };
        CHECK_FALSE(bench.verify({}).ok());
      }
    }
}

// Rounded like a kernel's, to the scale of what is added up; the logit itself is nearly nothing.
TEST_CASE("a logit that cancels is judged by its terms, however often a batch repeats its token") {
  const LayerSpec layer = small_layer();
  const Workload workload = small_workload(layer, 256);
  const LayerWeights& weights = workload.sets.front();
  const LayerPlan plan =
      make_plan(layer, make_shard(layer, 1, 0), {.gate = Gate::separate, .shared = Shared::mlp},
                256, kTestDevice);
  for (const Step& step : plan.steps) {
    if (step.op != Op::gate_gemm || step.row_end - step.row_begin != 1) continue;
    const Matrix row = router_matrix(weights, step.row_begin, step.row_end);
    Matrix token = to_matrix(workload.inputs.front(), 256, layer.hidden).topRows(1);
    token -= 0.9999 * token.row(0).dot(row.row(0)) / row.squaredNorm() * row;
    const double size = std::sqrt((token.cwiseAbs2() * row.cwiseAbs2().transpose()).value());
    RefState inputs;
    inputs[Buf::x] = token.replicate(256, 1);
    const RefState expected = reference_of(plan, step, weights, inputs);
    const double bound = op_def(step.op).tolerance(plan, step);
    const Buf target = step.writes[0];
    CHECK(std::fabs(expected[target](0, 0)) < 1e-3 * size);
    for (const auto& [error, right] : {std::pair{0.1, true}, std::pair{3.0, false}}) {
      RefState outputs = expected;
      outputs[target].array() += error * bound * size;
      CHECK(verify_step(plan, step, weights, inputs, outputs, expected).ok() == right);
    }
    return;
  }
  FAIL("the plan has a gate of one row");
}

TEST_CASE("a layer in one launch is judged on the experts that it chose") {
  LayerSpec layer = small_layer();
  const Workload workload = small_workload(layer, 5);
  DeviceInfo device = kTestDevice;
  device.experts_fused = true;
  const Variant variant{
      .gate = Gate::fused, .topk = Topk::fused, .shared = Shared::slot, .experts = Experts::fused};
  const LayerPlan plan = make_plan(layer, make_shard(layer, 1, 0), variant, 5, device);
  REQUIRE(plan.steps.size() == 1);
  ReferenceSession session(plan, workload.sets);
  StepBench bench(session, plan, 0, no_choices(plan), workload);
  CHECK(bench.verify({}).ok());
  CHECK(bench.work().bytes > 0);
  for (Buf id : plan.steps[0].writes) {
    CAPTURE(to_name(id));
    session.fault = [&](int, const Choice&, RefState& state) { state[id](0, 0) += 3; };
    CHECK_FALSE(bench.verify({}).ok());
  }
  // The same experts in another order are right as long as the weights go with them.
  session.fault = [](int, const Choice&, RefState& state) {
    state[Buf::topk_ids].col(0).swap(state[Buf::topk_ids].col(1));
    state[Buf::topk_weights].col(0).swap(state[Buf::topk_weights].col(1));
  };
  CHECK(bench.verify({}).ok());
  session.fault = [](int, const Choice&, RefState& state) {
    state[Buf::topk_ids].col(0).swap(state[Buf::topk_ids].col(1));
  };
  CHECK_FALSE(bench.verify({}).ok());
  session.fault = [](int, const Choice&, RefState&) {};
  LayerReference reference(plan, workload.sets[0], to_matrix(workload.inputs[0], 5, layer.hidden));
  CHECK(verify_layer_run(session, plan, no_choices(plan), nullptr, reference, workload.inputs[0])
            .ok());
}

TEST_CASE("a step that writes nothing fails: its output is poisoned before") {
  const LayerSpec layer = small_layer();
  const Workload workload = small_workload(layer, 3);
  const LayerPlan plan = legal_plans(layer, 3).front();
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    ReferenceSession session(plan, workload.sets);
    StepBench bench(session, plan, i, no_choices(plan), workload);
    RefState before;
    session.fault = [&](int, const Choice&, RefState& state) {
      for (Buf id : step.writes) {
        const Buffer& buffer = *plan.find(id);
        state[id] = Matrix::Constant(buffer.rows, buffer.cols, kNaN);
      }
    };
    CAPTURE(step.name);
    CHECK_FALSE(bench.verify({}).ok());
  }
}

TEST_CASE("a whole layer verifies; a lost shared expert or a changed route does not") {
  const LayerSpec layer = small_layer();
  const Workload workload = small_workload(layer, 5);
  for (const LayerPlan& plan : legal_plans(layer, 5)) {
    CAPTURE(to_label(plan.variant));
    ReferenceSession session(plan, workload.sets);
    LayerReference reference(plan, workload.sets[0],
                             to_matrix(workload.inputs[0], 5, layer.hidden));
    const auto judge = [&] {
      return verify_layer_run(session, plan, no_choices(plan), nullptr, reference,
                              workload.inputs[0]);
    };
    const LayerCheck good = judge();
    CHECK(good.ok());
    CHECK(good.routing.equal == 5);
    session.fault = [&](int, const Choice&, RefState& state) {
      if (plan.has_mlp() && state[Buf::shared_out].size()) state[Buf::shared_out].setZero();
      if (plan.has_slots() && state[Buf::topk_weights].size())
        state[Buf::topk_weights].rightCols(2).setZero();
    };
    CHECK_FALSE(judge().ok());
    session.fault = [&](int step, const Choice&, RefState& state) {
      const Op op = plan.steps[static_cast<size_t>(step)].op;
      if (op != Op::select && op != Op::topk) return;
      double& id = state[Buf::topk_ids](2, 0);
      id = id == 0 || state[Buf::topk_ids](2, 1) == 0 ? 7 : 0;
    };
    CHECK_FALSE(judge().ok());
  }
}

TEST_CASE("faults that move a whole layer's output little are still faults") {
  const LayerSpec layer = small_layer();
  const Workload workload = small_workload(layer, 5);
  struct Fault {
    const char* name;
    std::function<void(RefState&)> damage;  // of what topk, or else renormalize, left
  };
  const Fault faults[] = {
      {"an expert is lost for one token", [](RefState& s) { s[Buf::topk_weights](2, 1) = 0; }},
      {"two weights change places",
       [](RefState& s) { std::swap(s[Buf::topk_weights](2, 0), s[Buf::topk_weights](2, 1)); }},
      {"a token is dropped", [](RefState& s) { s[Buf::topk_weights].row(4).setZero(); }},
      {"weights in bf16",
       [](RefState& s) {
         for (double& w : s[Buf::topk_weights].reshaped())
           w = from_bf16(to_bf16(static_cast<float>(w)));
       }},
      {"weights off by 2e-5", [](RefState& s) { s[Buf::topk_weights] *= 1 + 2e-5; }},
  };
  for (const LayerPlan& plan : legal_plans(layer, 5))
    for (const Fault& fault : faults) {
      CAPTURE(to_label(plan.variant));
      CAPTURE(fault.name);
      ReferenceSession session(plan, workload.sets);
      LayerReference reference(plan, workload.sets[0],
                               to_matrix(workload.inputs[0], 5, layer.hidden));
      session.fault = [&](int step, const Choice&, RefState& state) {
        const Op op = plan.steps[static_cast<size_t>(step)].op;
        if (op == Op::topk || op == Op::renormalize) fault.damage(state);
      };
      CHECK_FALSE(
          verify_layer_run(session, plan, no_choices(plan), nullptr, reference, workload.inputs[0])
              .ok());
    }
}
