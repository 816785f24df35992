#include "core/tuned_table.h"

#include <doctest/doctest.h>

#include <cmath>

namespace fse {
namespace {

DeviceModel device() {
  DeviceModel d;
  d.compute_units = 256;
  d.peak_gbs = 8000;
  d.read_gbs = 6000;
  d.workgroup_gbs = 55;
  d.bf16_tflops = 2500;
  d.fp8_tflops = 5000;
  d.grouped_share = 0.17;
  d.grouped_us = 9;
  d.tile_us = 5;
  return d;
}

LayerSpec layer(int experts, int top_k) {
  LayerSpec spec{.hidden = 5120, .intermediate = 384, .dtype = DType::fp8_block128};
  spec.routing.experts = experts;
  spec.routing.top_k = top_k;
  return spec;
}

TunedRow row(int tokens, double us) {
  return {.hidden = 5120,
          .intermediate = 384,
          .experts = 161,
          .top_k = 9,
          .tokens = tokens,
          .us = us,
          .tile = {32, 384}};
}

}  // namespace

TEST_CASE("a tuned row is returned as it is where it was tuned for this very batch") {
  const std::vector<TunedRow> rows{row(8, 100), row(32, 400), row(1, 50)};
  const LayerSpec spec = layer(161, 9);
  const Shard shard = make_shard(spec, 1, 0);
  CHECK(*tuned_us(rows, spec, shard, device(), {}, 0, 8) == doctest::Approx(100));
  CHECK(*tuned_us(rows, spec, shard, device(), {}, 0, 16) == doctest::Approx(200));
  CHECK(*tuned_us(rows, spec, shard, device(), {}, 0, 1) == doctest::Approx(50));
  CHECK_FALSE(tuned_us(rows, spec, shard, device(), {}, 0, 33));  // beyond what was tuned
}

TEST_CASE("a table misses every shape it does not name, slots counted") {
  const std::vector<TunedRow> rows{row(8, 100)};
  const LayerSpec spec = layer(160, 8);
  const Shard shard = make_shard(spec, 1, 0);
  CHECK_FALSE(tuned_us(rows, spec, shard, device(), {}, 0, 8));
  CHECK(tuned_us(rows, spec, shard, device(), {}, 1, 8));
  CHECK_FALSE(tuned_us(rows, spec, make_shard(spec, 3, 0), device(), {}, 1, 8));
}

TEST_CASE("skewed routing reads fewer experts than the row was tuned with") {
  const std::vector<TunedRow> rows{row(64, 160)};
  const LayerSpec spec = layer(160, 8);
  const RoutingPrior skewed{.kind = PriorKind::zipf, .parameter = 1.5, .counts = {}};
  const Shard shard = make_shard(spec, 1, 0);
  const double uniform = *tuned_us(rows, spec, shard, device(), {}, 1, 64);
  const double zipf = *tuned_us(rows, spec, shard, device(), skewed, 1, 64);
  CHECK(zipf < uniform);
  // A workgroup still reads its whole 384 columns by itself.
  CHECK(zipf > 3.0 * 5120 * 384 / (55 * 1e3));
}

}  // namespace fse
