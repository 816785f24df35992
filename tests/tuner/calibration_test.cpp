#include "tuner/calibration.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "core/layer_cost.h"
#include "tuner/calibration_ways.h"

namespace fse {
namespace {

// A device that is known to the last digit: what comes out is what went in.
class KnownDevice final : public Microbench {
 public:
  std::optional<double> chain_us(Chain chain, int links) override {
    const double each = chain == Chain::graph       ? 1.25
                        : chain == Chain::stream    ? 2.5
                        : chain == Chain::touching  ? 1.25 + 0.75
                        : chain == Chain::dependent ? 0.5 + 0.75
                        : chain == Chain::forked    ? 2 + 2 * 1.5
                                                    : 1.75;
    if (!dependent && chain == Chain::dependent) return std::nullopt;
    return 20 + each * links;  // what does not grow with the links is no link's
  }
  double read_us(int workgroups, int64_t footprint, int rounds) override {
    const double drawn =
        std::min(50.0 * workgroups, footprint < llc / 2 && rounds > 1 ? 9000.0 : 3000.0);
    return static_cast<double>(footprint) * rounds / (drawn * 1e3);
  }
  double copy_us(int64_t bytes) override { return 2 * static_cast<double>(bytes) / 2800e3; }
  std::optional<double> shared_read_us(int64_t main, int64_t side) override {
    const auto us = [](int64_t bytes) { return static_cast<double>(bytes) / 3000e3; };
    return us(main) + us(side) + (side > 0 ? 0.2 * us(side) : 0);
  }
  std::optional<double> widen_gops() override { return 5000; }
  Limits limits() override { return {.clock_ghz = 2, .peak_gbs = 3350, .driver = "none"}; }

  static constexpr double llc = 50e6;
  bool dependent = true;
};

DeviceInfo known_gpu() {
  return {.name = "hip:0",
          .kind = "hip",
          .arch = "sm_90",
          .compute_units = 100,
          .memory_bytes = 80'000'000'000,
          .llc_bytes = 50'000'000};
}

double value(const Calibration& c, const std::string& field) {
  const CalibratedValue* found = c.find(field);
  REQUIRE_MESSAGE(found, field);
  return found->value.median;
}

}  // namespace

TEST_CASE("a device's numbers come out of its microbenchmarks") {
  KnownDevice device;
  const Calibration c = calibrate_memory(device, known_gpu(), 700e3, {});
  const struct {
    const char* field;
    double is;
  } numbers[] = {{"launch_us", 1.25},   {"stream_us", 2.5},    {"touch_us", 0.75},
                 {"dependent_us", 0.5}, {"event_us", 1.5},     {"barrier_us", 1.75},
                 {"read_gbs", 3000},    {"peak_gbs", 3350},    {"workgroup_gbs", 50},
                 {"copy_gbs", 2800},    {"llc_gbs", 9000},     {"widen_gops", 5000},
                 {"interference", 0.2}, {"compute_units", 100}};
  for (const auto& number : numbers) {
    CAPTURE(std::string(number.field));
    CHECK(value(c, number.field) == doctest::Approx(number.is));
  }
  CHECK(value(c, "bf16_tflops") == doctest::Approx(4096 * 100 * 2e-3));
  CHECK(value(c, "fp8_tflops") == doctest::Approx(8192 * 100 * 2e-3));
  CHECK(c.find("launch_us")->value.n == 11);
  CHECK(c.find("compute_units")->value.n == 0);
  CHECK(c.reads.size() >= 12);
}

TEST_CASE("what a device has not is left out, and a peak nobody knows is what was measured") {
  KnownDevice device;
  device.dependent = false;
  DeviceInfo unknown = known_gpu();
  unknown.arch = "sm_70";
  const Calibration c = calibrate_memory(device, unknown, 700e3, {.repeats = 6});
  CHECK(c.find("dependent_us") == nullptr);
  CHECK(c.find("fp8_tflops") == nullptr);
  CHECK(value(c, "bf16_tflops") == doctest::Approx(700));
}

TEST_CASE("what a step takes comes out of the ways to run a small layer") {
  DeviceInfo info = known_gpu();
  info.graph = info.experts_fused = info.half_activations = true;
  info.dtypes = {DType::bf16, DType::fp8_block128};
  DeviceModel known{.name = "known", .arch = "sm_90"};
  known.compute_units = 132;
  known.peak_gbs = known.read_gbs = 3000;
  known.workgroup_gbs = 45;
  known.llc_mb = 50;
  known.llc_gbs = 5000;
  known.bf16_tflops = 1000;
  known.gemm_share = known.grouped_share = 0.5;
  known.widen_gops = 5400;
  known.launch_us = 0.9;
  known.dependent_us = 0.5;
  known.event_us = 0.2;
  Calibration c;
  for (const DeviceField& field : device_fields())
    c.values.push_back({std::string(field.name), {.median = known.*field.value}, "known"});
  const struct {
    const char* field;
    double DeviceModel::*of;
    double is;
  } hidden[] = {{"ramp_us", &DeviceModel::ramp_us, 1.4},
                {"touch_us", &DeviceModel::touch_us, 0.7},
                {"experts_us", &DeviceModel::experts_us, 0.3},
                {"stage_us", &DeviceModel::stage_us, 2.5},
                {"stage_fp8_us", &DeviceModel::stage_fp8_us, 4},
                {"fp8_tile_us", &DeviceModel::fp8_tile_us, 0.15},
                {"plain_us", &DeviceModel::plain_us, 0.4},
                {"fused_us", &DeviceModel::fused_us, 7},
                {"fused_fp8_us", &DeviceModel::fused_fp8_us, 8.5}};
  for (const auto& number : hidden) known.*number.of = number.is;
  const auto add = [&](const Way& way, DType dtype, int tokens, int experts) {
    LayerPoint point{.dtype = dtype,
                     .variant = variant_of(way, info),
                     .tokens = tokens,
                     .experts = experts,
                     .early = 1};
    const LayerPlan plan = plan_of(point, info, {});
    const BatchLoad batch = expected_batch(plan, known, {});
    const double us = end_us(layer_cost(plan, known, batch));
    point.us = {.median = us, .lo = us, .hi = us, .n = 11};
    point.load = batch.load;
    c.layers.push_back(point);
  };
  for (const Way& way : {kUnfused, kSeparate, kMlp, kOverlapped, kSlot, kOneLaunch})
    add(way, DType::bf16, 1, 128);
  for (const Way& way : {kUnfused, kSlot}) add(way, DType::bf16, 1, kManyExperts);
  for (const int tokens : {1, 64})
    for (const Way& way : {kSlot, kOneLaunch}) add(way, DType::fp8_block128, tokens, 128);
  derive_steps(info, {}, c);
  for (const auto& number : hidden) {
    CAPTURE(std::string(number.field));
    CHECK(value(c, number.field) == doctest::Approx(number.is).epsilon(0.02));
  }
}

}  // namespace fse
