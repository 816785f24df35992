#include "tuner/measure.h"

#include <doctest/doctest.h>

#include <set>

#include "core/error.h"
#include "reference_session.h"
#include "small_layer.h"
#include "tuner/layer_bench.h"

using namespace fse;

namespace {

struct Race {
  LayerSpec layer = small_layer();
  Workload workload = small_workload(layer, 2);
  std::vector<LayerPlan> plans = legal_plans(layer, 2);
  std::vector<LayerTrial> reference;
  std::vector<std::unique_ptr<LayerBench>> layers;
  std::vector<ReferenceSession*> sessions;
  std::vector<Contestant> contestants;

  Race() {
    for (size_t i = 0; i < 2; ++i) {
      auto session = std::make_unique<ReferenceSession>(plans[i], workload.sets);
      sessions.push_back(session.get());
      layers.push_back(
          std::make_unique<LayerBench>(plans[i], std::move(session), workload, reference));
      contestants.push_back({layers[i].get(), std::vector<Choice>(plans[i].steps.size())});
    }
  }
};

bool never() {
  return false;
}

}  // namespace

TEST_CASE("steady samples end after the fewest rounds, for every contestant alike") {
  Race race;
  const auto results = measure_layers(race.contestants, {.min_rounds = 9}, 1, never);
  REQUIRE(results.size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    CHECK(results[i].layer_us.size() == 9);
    CHECK(results[i].step_us.size() == race.plans[i].steps.size());
    CHECK(results[i].layer_us[0] ==
          doctest::Approx(100.0 * static_cast<double>(race.plans[i].steps.size())));
  }
}

TEST_CASE("noisy samples go on until the interval is narrow") {
  Race race;
  race.sessions[0]->time_us = [](int, const Choice&, int call) {
    return call / 13 % 2 == 0 ? 100.0 : 130.0;  // whole rounds of 13 steps alternate
  };
  const auto results =
      measure_layers(race.contestants, {.min_rounds = 6, .max_seconds = 0.2}, 1, never);
  CHECK(results[0].layer_us.size() > 6);
  CHECK(results[0].layer_us.size() == results[1].layer_us.size());
}

TEST_CASE("a stop between two rounds ends the measurement as incomplete") {
  Race race;
  CHECK_THROWS_AS(measure_layers(race.contestants, {}, 1, [] { return true; }), Error);
}

TEST_CASE("realised loads count what the router chose for each input") {
  Race race;
  const std::vector<Load> loads =
      realised_loads(race.contestants[0], static_cast<int>(race.workload.inputs.size()));
  REQUIRE(loads.size() == race.workload.inputs.size());
  for (const Load& load : loads) CHECK(load.pairs() == race.plans[0].pairs());
}

TEST_CASE("the rotation covers twice the cache with the router, or says what lacks") {
  const LayerSpec layer = small_layer();  // router: 9 rows * 64 * 4 bytes = 2304 bytes
  DeviceInfo device = kTestDevice;
  device.memory_bytes = int64_t{1} << 30;
  device.llc_bytes = 10 * 2304;
  const Rotation rotation =
      plan_rotation(layer, make_shard(layer, 1, 0), device, Cache::cold_weights);
  CHECK(rotation.sets == 21);
  CHECK(rotation.shortfall_bytes == 0);
  device.llc_bytes = int64_t{1} << 20;
  const Rotation capped =
      plan_rotation(layer, make_shard(layer, 1, 0), device, Cache::cold_weights);
  CHECK(capped.sets == 64);
  CHECK(capped.shortfall_bytes == 2 * (int64_t{1} << 20) - 63 * 2304);
  CHECK(plan_rotation(layer, make_shard(layer, 1, 0), device, Cache::warm).sets == 1);
}

TEST_CASE("no round repeats another's routing, however many there are, and all variants share it") {
  const LayerSpec layer = small_layer();
  const auto bench = open_workbench(open_backend("cpu"));
  for (const RoutingKind kind : {RoutingKind::uniform, RoutingKind::zipf, RoutingKind::dirichlet}) {
    CAPTURE(to_name(kind));
    const Case spec{.layer = layer, .tokens = 16, .routing = {.kind = kind, .parameter = 1}};
    bench->set_workload({.spec = spec, .sets = 1, .rounds = 3});
    const Variant mlp{.shared = Shared::mlp}, slot{.shared = Shared::slot};
    const auto one = bench->open(mlp), other = bench->open(slot);
    const auto load = [&](LayerRunner& runner, const Variant& v, int round) {
      const LayerPlan plan = make_plan(layer, make_shard(layer, 1, 0), v, 16, bench->device());
      std::vector<int64_t> rows =
          runner.load(default_choices(plan, bench->device()), round).rows_per_expert;
      if (v == slot)  // the always-on slots get every token
        for (size_t e = 8; e < rows.size(); ++e) CHECK(rows[e] == 16);
      rows.resize(8);
      return rows;
    };
    std::set<std::vector<int64_t>> seen;
    for (int round = 0; round < 12; ++round) {
      const auto rows = load(*one, mlp, round);
      CHECK(load(*other, slot, round) == rows);
      seen.insert(rows);
    }
    CHECK(seen.size() == 12);
    CHECK(load(*one, mlp, 7) == load(*other, slot, 7));  // an earlier one again: the same
  }
}
