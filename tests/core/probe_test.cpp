// Contribution probes: a part of the layer is changed on purpose, and the output must move by the
// amount that follows. A shared expert that is loaded but not added, or scaled twice, passes any
// test that only compares two runs of the same mistake.
#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>

#include "core/op.h"
#include "core/workload.h"

using namespace fse;

namespace {

const DeviceInfo kCpu{.name = "cpu", .kind = "cpu", .dtypes = {DType::f32}};

LayerSpec layer_of(double scaling, SharedWeight weight) {
  LayerSpec layer;
  layer.hidden = 64;
  layer.intermediate = 16;
  layer.dtype = DType::f32;
  layer.routing = {.experts = 8,
                   .top_k = 2,
                   .score = ScoreFunction::sigmoid,
                   .renormalize = true,
                   .scaling = scaling};
  layer.shared = {
      .count = 2, .shared_width = 40, .weight = weight};  // 3 slots, the last half empty
  return layer;
}

Matrix random_x(int tokens, int hidden) {
  const std::vector<float> x = random_input(tokens, hidden, 3);
  return Eigen::Map<const Eigen::Matrix<float, -1, -1, Eigen::RowMajor>>(x.data(), tokens, hidden)
      .cast<double>();
}

std::vector<LayerPlan> plans_of(const LayerWeights& weights, int tokens) {
  std::vector<LayerPlan> plans;
  for (const Variant& variant : all_variants())
    if (check(weights.layer, variant, kCpu).empty())
      plans.push_back(make_plan(weights.layer, weights.shard, variant, tokens, kCpu));
  return plans;
}

void zero_shared(LayerWeights& weights) {
  const LayerSpec& layer = weights.layer;
  const int64_t down = int64_t{layer.hidden} * weights.shard.intermediate * 4;
  auto* bytes = const_cast<std::byte*>(weights.down) + layer.routing.experts * down;
  std::memset(bytes, 0, static_cast<size_t>(weights.shard.slots * down));
}

}  // namespace

TEST_CASE("without its shared expert the output is the routed part alone") {
  for (SharedWeight weight : {SharedWeight::constant, SharedWeight::sigmoid_gate}) {
    const LayerSpec layer = layer_of(2.5, weight);
    const LayerWeights whole = random_weights(layer, make_shard(layer, 1, 0), 1).front();
    LayerWeights without = clone_weights(whole);
    zero_shared(without);
    const Matrix x = random_x(5, layer.hidden);
    for (const LayerPlan& plan : plans_of(whole, 5)) {
      CAPTURE(to_label(plan.variant));
      const RefState full = run_reference(plan, whole, x);
      const RefState bare = run_reference(plan, without, x);
      const Matrix moved = full[Buf::out] - bare[Buf::out];
      CHECK(moved.norm() > 0.1 * full[Buf::out].norm());
      if (plan.has_mlp()) CHECK((moved - full[Buf::shared_out]).norm() < 1e-12 * moved.norm());
    }
  }
}

TEST_CASE("all variants agree on a layer with scaling, a gate and a padded slot") {
  for (double scaling : {1.0, 2.5, 2.827})
    for (SharedWeight weight : {SharedWeight::constant, SharedWeight::sigmoid_gate}) {
      const LayerSpec layer = layer_of(scaling, weight);
      const LayerWeights weights = random_weights(layer, make_shard(layer, 1, 0), 2).front();
      const Matrix x = random_x(7, layer.hidden);
      const std::vector<LayerPlan> plans = plans_of(weights, 7);
      const Matrix first = run_reference(plans.front(), weights, x)[Buf::out];
      for (const LayerPlan& plan : plans) {
        CAPTURE(to_label(plan.variant));
        CHECK((run_reference(plan, weights, x)[Buf::out] - first).norm() < 1e-12 * first.norm());
      }
    }
}

TEST_CASE("the routed scaling factor multiplies the routed part once, and only it") {
  const LayerSpec plain = layer_of(1, SharedWeight::constant);
  const LayerWeights weights = random_weights(plain, make_shard(plain, 1, 0), 4).front();
  const Matrix x = random_x(4, plain.hidden);
  LayerWeights routed_only = clone_weights(weights);
  zero_shared(routed_only);
  for (double scaling : {2.5, 2.827}) {
    LayerWeights scaled = clone_weights(weights), scaled_routed = clone_weights(routed_only);
    scaled.layer.routing.scaling = scaled_routed.layer.routing.scaling = scaling;
    const auto before = plans_of(weights, 4), after = plans_of(scaled, 4);
    for (size_t i = 0; i < before.size(); ++i) {
      CAPTURE(to_label(after[i].variant));
      const Matrix routed = run_reference(before[i], routed_only, x)[Buf::out];
      const Matrix moved = run_reference(after[i], scaled, x)[Buf::out] -
                           run_reference(before[i], weights, x)[Buf::out];
      CHECK((moved - (scaling - 1) * routed).norm() < 1e-12 * moved.norm());
    }
  }
}

TEST_CASE("a token that only one expert wants gets that expert's output, scaled") {
  LayerSpec layer = layer_of(2.5, SharedWeight::constant);
  layer.routing.top_k = 1;
  LayerWeights weights = clone_weights(random_weights(layer, make_shard(layer, 1, 0), 6).front());
  zero_shared(weights);
  const int favourite = 5;
  Matrix ids(1, 1);
  ids << favourite;
  const std::vector<float> planted = plant_input(weights, ids, 1);
  const Matrix x = Eigen::Map<const Eigen::Matrix<float, -1, -1, Eigen::RowMajor>>(planted.data(),
                                                                                   1, layer.hidden)
                       .cast<double>();
  const Matrix gate = x * gate_matrix(weights, favourite).transpose();
  const Matrix up = x * up_matrix(weights, favourite).transpose();
  const Matrix h = (gate.array() / (1 + (-gate.array()).exp()) * up.array()).matrix();
  const Matrix want = 2.5 * h * down_matrix(weights, favourite).transpose();
  for (const LayerPlan& plan : plans_of(weights, 1)) {
    CAPTURE(to_label(plan.variant));
    const RefState state = run_reference(plan, weights, x);
    REQUIRE(state[Buf::topk_ids](0, 0) == favourite);
    // One expert, renormalised: its weight is the scaling factor itself.
    CHECK((state[Buf::out] - want).norm() < 1e-12 * want.norm());
  }
}
