#include "core/routing.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cmath>
#include <limits>
#include <set>

using namespace fse;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::vector<int> route(const RoutingSpec& r, const Matrix& logits, const float* bias = nullptr) {
  const Matrix keys = selection_keys(r, routing_scores(r, logits), bias);
  return select_experts(r, keys.row(0).data());
}

Matrix row(std::initializer_list<double> values) {
  Matrix m(1, static_cast<Eigen::Index>(values.size()));
  std::copy(values.begin(), values.end(), m.data());
  return m;
}

}  // namespace

TEST_CASE("softmax scores sum to one and keep the order of the logits") {
  const RoutingSpec r{.experts = 3, .top_k = 2};
  const Matrix scores = routing_scores(r, row({1, 3, 2}));
  CHECK(scores.sum() == doctest::Approx(1));
  CHECK(scores(0, 1) == doctest::Approx(std::exp(3) / (std::exp(1) + std::exp(2) + std::exp(3))));
  CHECK(route(r, row({1, 3, 2})) == std::vector<int>{1, 2});
}

TEST_CASE("equal scores go to the lower id") {
  for (ScoreFunction score : {ScoreFunction::softmax, ScoreFunction::sigmoid}) {
    const RoutingSpec r{.experts = 4, .top_k = 3, .score = score};
    CHECK(route(r, row({0, 0, 0, 0})) == std::vector<int>{0, 1, 2});
    CHECK(route(r, row({1, 2, 1, 2})) == std::vector<int>{1, 3, 0});
  }
}

TEST_CASE("the bias selects but never weighs") {
  const RoutingSpec r{.experts = 3, .top_k = 1, .score = ScoreFunction::sigmoid};
  const float bias[] = {0, 0, 1};
  const Matrix logits = row({2, 1, 0});
  CHECK(route(r, logits, bias) == std::vector<int>{2});
  CHECK(routing_scores(r, logits)(0, 2) == doctest::Approx(0.5));
}

TEST_CASE("sigmoid scores that float32 has no numbers for are 0, and then so are the weights") {
  CHECK(sigmoid(-87) == 0);
  CHECK(sigmoid(-1e30) == 0);
  CHECK(sigmoid(-86.9) == doctest::Approx(std::exp(-86.9)));
  CHECK(std::isnan(sigmoid(kNaN)));
  LayerPlan plan;
  plan.tokens = 3;
  plan.layer.routing = {
      .experts = 4, .top_k = 2, .score = ScoreFunction::sigmoid, .renormalize = true, .scaling = 4};
  plan.variant.shared = Shared::none;
  RefState state;
  state[Buf::router_logits] = Matrix(3, 4);
  state[Buf::router_logits] << -90, -100, -200, -kInf, -50, -50, -60, -60, 2, -90, -91, -92;
  const Step step{.op = Op::topk, .name = "topk"};
  op_def(Op::topk).reference(plan, step, {}, state);
  CHECK(state[Buf::topk_ids].row(0) == row({0, 1}));
  CHECK(state[Buf::topk_weights].row(0) == row({0, 0}));
  // transformers: scores / (sum of scores + 1e-20)
  const double tiny = std::exp(-50);
  CHECK(state[Buf::topk_weights](1, 1) == doctest::Approx(4 * tiny / (2 * tiny + 1e-20)));
  CHECK(state[Buf::topk_weights].row(2) == row({4, 0}));
}

TEST_CASE("a NaN logit ranks below every number and leaves the others their share") {
  for (ScoreFunction score : {ScoreFunction::softmax, ScoreFunction::sigmoid}) {
    const RoutingSpec r{.experts = 4, .top_k = 3, .score = score};
    CHECK(route(r, row({kNaN, 1, kNaN, -50})) == std::vector<int>{1, 3, 0});
    CHECK(route(r, row({kNaN, kNaN, kNaN, kNaN})) == std::vector<int>{0, 1, 2});
  }
  const RoutingSpec r{.experts = 3, .top_k = 1};
  CHECK(routing_scores(r, row({kNaN, 0, 0}))(0, 1) == doctest::Approx(0.5));
}

TEST_CASE("infinities share the weight, and a row of -inf has none") {
  const RoutingSpec r{.experts = 3, .top_k = 2};
  CHECK(routing_scores(r, row({kInf, 1, kInf}))(0, 2) == doctest::Approx(0.5));
  CHECK(routing_scores(r, row({-kInf, -kInf, -kInf})).isZero());
  CHECK(route(r, row({-kInf, -kInf, -kInf})) == std::vector<int>{0, 1});
}

TEST_CASE("groups are ranked by their best expert or by their two best") {
  // Group 0 has the best expert, group 1 the better pair.
  RoutingSpec r{.experts = 4,
                .top_k = 1,
                .score = ScoreFunction::sigmoid,
                .groups = 2,
                .groups_kept = 1,
                .group_score = GroupScore::max};
  const Matrix logits = row({3, -3, 2, 2});
  CHECK(route(r, logits) == std::vector<int>{0});
  r.group_score = GroupScore::sum_of_top2;
  CHECK(route(r, logits) == std::vector<int>{2});
}

TEST_CASE("whatever the logits are, ids are distinct, in range and of kept groups") {
  rc::check("routing invariants", [] {
    RoutingSpec r;
    r.groups = *rc::gen::inRange(1, 5);
    const int width = *rc::gen::inRange(1, 9);
    r.experts = r.groups * width;
    r.groups_kept = *rc::gen::inRange(1, r.groups + 1);
    r.top_k = *rc::gen::inRange(1, r.groups_kept * width + 1);
    r.score = *rc::gen::element(ScoreFunction::softmax, ScoreFunction::sigmoid);
    r.group_score = *rc::gen::element(GroupScore::max, GroupScore::sum_of_top2);
    Matrix logits(1, r.experts);
    std::vector<float> bias(static_cast<size_t>(r.experts));
    for (int e = 0; e < r.experts; ++e) {
      logits(0, e) = *rc::gen::element(kNaN, kInf, -kInf, 0.0, 1.0, -1.0, 700.0, -700.0, 0.5);
      bias[static_cast<size_t>(e)] = *rc::gen::element(0.0f, 0.1f, -0.1f);
    }
    const Matrix keys = selection_keys(r, routing_scores(r, logits), bias.data());
    const std::vector<int> ids = select_experts(r, keys.row(0).data());
    const std::vector<bool> allowed = selectable(r, keys.row(0).data());
    RC_ASSERT(static_cast<int>(ids.size()) == r.top_k);
    RC_ASSERT(std::set<int>(ids.begin(), ids.end()).size() == ids.size());
    for (size_t i = 0; i < ids.size(); ++i) {
      RC_ASSERT(ids[i] >= 0 && ids[i] < r.experts);
      RC_ASSERT(allowed[static_cast<size_t>(ids[i])]);
      if (i == 0) continue;
      const double before = keys(0, ids[i - 1]), after = keys(0, ids[i]);
      RC_ASSERT(before > after || (before == after && ids[i - 1] < ids[i]));
    }
  });
}
