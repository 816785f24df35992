#include "core/workload.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <filesystem>
#include <set>

#include "core/error.h"
#include "core/routing.h"
#include "core/safetensors.h"

using namespace fse;

namespace {

LayerSpec layer_of(int experts, int top_k, int groups = 1, int kept = 1, int hidden = 256) {
  LayerSpec layer;
  layer.hidden = hidden;
  layer.intermediate = 32;
  layer.routing = {.experts = experts, .top_k = top_k, .groups = groups, .groups_kept = kept};
  if (groups > 1) {
    layer.routing.score = ScoreFunction::sigmoid;
    layer.routing.group_score = GroupScore::sum_of_top2;
  }
  return layer;
}

Load histogram(const LayerSpec& layer, const RoutingDistribution& d, int tokens) {
  return load_of(draw_routing(layer, d, tokens, 7), layer.routing.experts);
}

}  // namespace

TEST_CASE("drawn ids are distinct, in range, and inside as many groups as may be kept") {
  rc::check("draw_routing", [] {
    const int groups = *rc::gen::inRange(1, 5);
    const int kept = *rc::gen::inRange(1, groups + 1);
    const int width = *rc::gen::inRange(2, 9);
    const int top_k = *rc::gen::inRange(1, kept * width + 1);
    const LayerSpec layer = layer_of(groups * width, top_k, groups, kept);
    const auto kind =
        *rc::gen::element(RoutingKind::uniform, RoutingKind::zipf, RoutingKind::dirichlet);
    const Matrix ids =
        draw_routing(layer, {.kind = kind, .parameter = 0.7}, 5, *rc::gen::arbitrary<uint64_t>());
    for (Eigen::Index t = 0; t < ids.rows(); ++t) {
      std::set<int> seen, used_groups;
      for (int j = 0; j < top_k; ++j) {
        RC_ASSERT(ids(t, j) >= 0 && ids(t, j) < layer.routing.experts);
        seen.insert(static_cast<int>(ids(t, j)));
        used_groups.insert(static_cast<int>(ids(t, j)) / width);
      }
      RC_ASSERT(static_cast<int>(seen.size()) == top_k);
      RC_ASSERT(static_cast<int>(used_groups.size()) <= kept);
    }
  });
}

TEST_CASE("the same seed draws the same routes, another seed others") {
  const LayerSpec layer = layer_of(64, 8);
  const RoutingDistribution zipf{.kind = RoutingKind::zipf, .parameter = 1.2};
  CHECK(draw_routing(layer, zipf, 9, 3) == draw_routing(layer, zipf, 9, 3));
  CHECK(draw_routing(layer, zipf, 9, 3) != draw_routing(layer, zipf, 9, 4));
}

TEST_CASE("uniform routing activates as many experts as expected, Zipf fewer") {
  const LayerSpec layer = layer_of(512, 10);
  // 512 * (1 - (1 - 10/512)^64) = 367.
  CHECK(expected_distinct(layer.routing, 64) == doctest::Approx(367).epsilon(0.01));
  const Load uniform = histogram(layer, {}, 64);
  CHECK(uniform.pairs() == 640);
  CHECK(static_cast<double>(uniform.active()) == doctest::Approx(367).epsilon(0.06));
  const Load zipf = histogram(layer, {.kind = RoutingKind::zipf, .parameter = 1.2}, 64);
  CHECK(zipf.active() < 300);
  CHECK(zipf.busiest() > uniform.busiest());
}

TEST_CASE("the hot expert is not always the first") {
  const LayerSpec layer = layer_of(64, 2);
  const RoutingDistribution zipf{.kind = RoutingKind::zipf, .parameter = 2};
  std::set<int64_t> hottest;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const Load load = load_of(draw_routing(layer, zipf, 64, seed), 64);
    hottest.insert(std::max_element(load.rows_per_expert.begin(), load.rows_per_expert.end()) -
                   load.rows_per_expert.begin());
  }
  CHECK(hottest.size() >= 4);
}

TEST_CASE("planted inputs route as drawn through the layer's own router") {
  for (const LayerSpec& layer : {layer_of(64, 8, 1, 1, 1024), layer_of(64, 8, 8, 4, 2048)}) {
    CAPTURE(layer.routing.groups);
    const Shard shard = make_shard(layer, 1, 0);
    const LayerWeights weights = random_weights(layer, shard, 5).front();
    const Matrix ids = draw_routing(layer, {}, 32, 9);
    const std::vector<float> x = plant_input(weights, ids, 9);
    const Matrix input =
        Eigen::Map<const Eigen::Matrix<float, -1, -1, Eigen::RowMajor>>(x.data(), 32, layer.hidden)
            .cast<double>();
    const Matrix logits = input * router_matrix(weights, 0, layer.routing.experts).transpose();
    const Matrix keys =
        selection_keys(layer.routing, routing_scores(layer.routing, logits), nullptr);
    for (Eigen::Index t = 0; t < 32; ++t) {
      const std::vector<int> chosen = select_experts(layer.routing, keys.row(t).data());
      std::set<double> want;
      for (int j = 0; j < layer.routing.top_k; ++j) want.insert(ids(t, j));
      CHECK(std::set<double>(chosen.begin(), chosen.end()) == want);
    }
  }
}

TEST_CASE("inputs are exact in bf16") {
  for (float value : random_input(3, 100, 1)) CHECK(from_bf16(to_bf16(value)) == value);
}

TEST_CASE("the rotation covers twice the last-level cache") {
  CHECK(sets_for_rotation(100, 1000, Cache::warm) == 1);
  CHECK(sets_for_rotation(100, 1000, Cache::cold_weights) == 21);
  CHECK(sets_for_rotation(5000, 1000, Cache::cold_weights) == 2);
}
