#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <set>

#include "tests/kernels/cpu_fixture.h"

using namespace fse;
using fse::test::CpuLayer;
using fse::test::layer_of;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
const double kNan = std::nan("");

// Rows that broke routers of others, then ordinary ones.
Matrix hostile_logits(int tokens, Eigen::Index cols, int experts) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0, 2);
  Matrix logits(tokens, cols);
  for (double& v : logits.reshaped()) v = normal(random);
  const auto fill = [&](int row, double value) {
    logits.row(row).head(experts).setConstant(value);
  };
  fill(0, kNan);
  fill(1, kInf);
  fill(2, -kInf);
  fill(3, 0.25);
  for (int e = 0; e < experts; e += 2) logits(4, e) = kNan;
  logits(5, experts - 1) = kInf;
  logits(6, 0) = kInf;
  logits(6, experts / 2) = kInf;
  for (int e = 0; e < experts - 2; ++e) logits(7, e) = -kInf;
  logits(8, 1) = kNan;
  logits(8, 2) = kInf;
  logits(8, 3) = -kInf;
  for (int e = 0; e < experts; ++e) logits(9, e) = e % 3;  // ties across every vector's end
  fill(10, 1e30);
  fill(11, -1e30);
  return logits;
}

std::vector<RoutingSpec> routings(int experts, int top_k) {
  std::vector<RoutingSpec> all;
  for (ScoreFunction score : {ScoreFunction::softmax, ScoreFunction::sigmoid})
    for (bool bias : {false, true})
      for (bool renormalize : {false, true})
        for (int groups : {1, 4})
          for (GroupScore group_score : {GroupScore::max, GroupScore::sum_of_top2}) {
            if (groups > 1 && (experts % groups != 0 || experts / groups * 2 < top_k)) continue;
            if (groups == 1 && group_score == GroupScore::sum_of_top2) continue;
            all.push_back({.experts = experts,
                           .top_k = top_k,
                           .score = score,
                           .selection_bias = bias,
                           .groups = groups,
                           .groups_kept = groups == 1 ? 1 : 2,
                           .group_score = group_score,
                           .renormalize = renormalize,
                           .scaling = 2.5});
          }
  return all;
}

void check_structure(const CpuLayer& layer) {
  const RoutingSpec& routing = layer.plan.layer.routing;
  const Matrix ids = layer.session->read(Buf::topk_ids);
  const Matrix weights = layer.session->read(Buf::topk_weights);
  for (Eigen::Index t = 0; t < ids.rows(); ++t) {
    std::set<double> distinct;
    for (int j = 0; j < routing.top_k; ++j) {
      CHECK((ids(t, j) >= 0 && ids(t, j) < routing.experts));
      CHECK(std::isfinite(weights(t, j)));
      distinct.insert(ids(t, j));
    }
    CHECK(static_cast<int>(distinct.size()) == routing.top_k);
  }
}

// Every routing step on its own exact inputs, then the ids and weights at the end.
void check_routing(const RoutingSpec& routing, const Variant& variant) {
  LayerSpec spec = layer_of({16, 8, routing.experts, routing.top_k, 16}, DType::f32);
  spec.routing = routing;
  CpuLayer layer(spec, variant, 16, 1, false);
  const auto cols = layer.plan.find(Buf::router_logits)->cols;
  layer.reference[Buf::router_logits] = hostile_logits(16, cols, routing.experts);
  layer.reference[Buf::shared_logits] = Matrix::Random(16, 1);
  for (int i = 0; i < static_cast<int>(layer.plan.steps.size()); ++i) {
    const Step& step = layer.plan.steps[static_cast<size_t>(i)];
    if (step.op == Op::gate_gemm) continue;
    if (step.op == Op::dispatch || step.op == Op::mlp_stage1) break;
    const RefState want = layer.expected(step);
    const bool with_nan = step.op == Op::score;  // judged below, and by what follows here
    for (const KernelDef* kernel : kernels_for(step.op, "cpu"))
      for (const Tile& tile : tiles(*kernel, layer.plan, step, layer.device))
        if (!with_nan) CHECK(layer.try_kernel(i, {kernel, tile}, want) == "");
    if (step.op == Op::select || step.op == Op::topk) check_structure(layer);
    for (Buf id : step.writes) layer.reference[id] = want[id];
  }
}

}  // namespace

TEST_CASE("routing of hostile rows is the reference's, for every rule") {
  for (auto [experts, top_k] : {std::pair{8, 2}, {16, 8}, {60, 4}, {512, 10}, {5, 5}})
    for (const RoutingSpec& routing : routings(experts, top_k)) {
      CAPTURE(experts);
      CAPTURE(to_name(routing.score));
      CAPTURE(routing.selection_bias);
      CAPTURE(routing.groups);
      check_routing(routing, {.gate = Gate::fused, .topk = Topk::fused, .shared = Shared::slot});
      check_routing(routing, {.gate = Gate::separate, .topk = Topk::fused, .shared = Shared::mlp});
      check_routing(routing, {.topk = Topk::unfused, .shared = Shared::slot});
    }
}

TEST_CASE("scores of hostile rows: NaN stays NaN, all else is finite and right") {
  for (ScoreFunction score : {ScoreFunction::softmax, ScoreFunction::sigmoid}) {
    LayerSpec spec = layer_of({80, 24, 60, 4, 0}, DType::f32);
    spec.routing.score = score;
    CpuLayer layer(spec, {.shared = Shared::none}, 33);
    layer.reference[Buf::router_logits] = hostile_logits(33, 60, 60);
    const Step& step = layer.plan.steps[1];
    REQUIRE(step.op == Op::score);
    const Matrix want = layer.expected(step)[Buf::scores];
    layer.session->run_step(1, default_choices(layer.plan, layer.device)[1], 0);
    const Matrix got = layer.session->read(Buf::scores);
    for (Eigen::Index i = 0; i < want.size(); ++i) {
      if (std::isnan(want.data()[i]))
        CHECK(std::isnan(got.data()[i]));
      else
        CHECK(std::fabs(got.data()[i] - want.data()[i]) <= 1e-6 + 1e-5 * want.data()[i]);
    }
  }
}

TEST_CASE("winners are found at the first, the last and every 256th expert") {
  for (int experts : {60, 256, 257, 512, 896})
    for (int winner : {0, 1, 255, 256, 257, 511, 512, experts - 1}) {
      if (winner >= experts) continue;
      LayerSpec spec = layer_of({16, 8, experts, 2, 0}, DType::f32);
      CpuLayer layer(spec, {.topk = Topk::fused, .shared = Shared::none}, 1);
      Matrix logits = Matrix::Constant(1, experts, -1);
      logits(0, winner) = 3;
      layer.session->write(Buf::router_logits, logits);
      layer.session->run_step(1, default_choices(layer.plan, layer.device)[1], 0);
      const Matrix ids = layer.session->read(Buf::topk_ids);
      CHECK(ids(0, 0) == winner);
      CHECK(ids(0, 1) == (winner == 0 ? 1 : 0));
    }
}
