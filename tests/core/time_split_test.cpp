#include "core/time_split.h"

#include <doctest/doctest.h>

#include <cmath>

namespace fse {
namespace {

DeviceModel device() {
  DeviceModel d;
  d.arch = "sm_90";
  d.compute_units = 132;
  d.read_gbs = 2900;
  d.peak_gbs = 3350;
  d.llc_mb = 50;
  d.llc_gbs = 5500;
  d.workgroup_gbs = 78;
  d.bf16_tflops = 989;
  d.gemm_share = 0.7;
  d.grouped_share = 0.4;
  d.launch_us = 1.3;
  d.event_us = 1.3;
  return d;
}

LayerPlan plan(Shared shared, int tokens) {
  LayerSpec layer{.hidden = 2048, .intermediate = 512};
  layer.routing = {.experts = 64, .top_k = 8, .renormalize = true};
  layer.shared = {.count = 1, .shared_width = 512, .weight = SharedWeight::sigmoid_gate};
  const DeviceInfo info{.kind = "sim", .dtypes = {DType::bf16}, .graph = true};
  return make_plan(layer, measured_shard(layer, 1), {.shared = shared, .launch = Launch::graph},
                   tokens, info);
}

double sum(const TimeSplit& s) {
  return s.weights_us + s.activations_us + s.math_us + s.launches_us + s.imbalance_us + s.tail_us +
         s.streams_us + s.residual_us;
}

TimeSplit split(const LayerPlan& p, double us, bool warm = false) {
  return split_time(p, device(), expected_batch(p, device(), {}), us, {us * 0.99, us * 1.01}, warm);
}

}  // namespace

TEST_CASE("the parts and the residual add up to the layer's time, whatever that is") {
  for (const Shared shared : {Shared::mlp, Shared::mlp_overlapped, Shared::slot})
    for (const int tokens : {1, 64, 2000})
      for (const double us : {50.0, 500.0, 5000.0}) {
        const TimeSplit s = split(plan(shared, tokens), us);
        CHECK(sum(s) == doctest::Approx(us));
        CHECK(s.predicted_us == doctest::Approx(us - s.residual_us));
        CHECK((s.streams_us != 0) == (shared == Shared::mlp_overlapped));
      }
}

TEST_CASE("what was simulated leaves no residual, and nothing is impossible about it") {
  const LayerPlan p = plan(Shared::mlp_overlapped, 16);
  const double us = layer_us(p, device(), RoutingPrior{});
  const TimeSplit s = split(p, us);
  CHECK(std::abs(s.residual_us) < 1e-9 * us);
  CHECK(s.impossible.empty());
  CHECK(s.floor_us < us);
}

TEST_CASE("a time below the memory's peak is impossible, and so is one below all its parts") {
  const LayerPlan p = plan(Shared::mlp, 16);
  const double us = layer_us(p, device(), RoutingPrior{});
  const double floor = split(p, us).floor_us;
  CHECK(split(p, floor * 0.9).impossible.starts_with("impossible: "));
  const double low = split(p, us).interval.low;
  REQUIRE(low > floor * 1.05);
  CHECK(split(p, (low + floor) / 2).impossible.starts_with("impossible residual: "));
  CHECK(split(p, low * 1.05).impossible.empty());
  // Out of the last-level cache the same time may be.
  CHECK(split(p, (low + floor) / 2, /*warm=*/true).impossible.empty());
}

TEST_CASE("rows that do not fill the matrix unit's columns are imbalance") {
  const LayerPlan p = plan(Shared::slot, 512);
  DeviceModel d = device();
  d.grouped_share = 0.05;  // the matrix work decides
  Load even, skewed;
  even.rows_per_expert.assign(65, 64);  // whole columns of 8
  skewed.rows_per_expert.assign(65, 57);
  skewed.rows_per_expert[0] += 7 * 65;
  const auto imbalance = [&](const Load& load) {
    return split_time(p, d, realised_batch(d, load), 1000, {1000, 1000}).imbalance_us;
  };
  CHECK(imbalance(even) == doctest::Approx(0));
  CHECK(imbalance(skewed) > 1);
}

}  // namespace fse
