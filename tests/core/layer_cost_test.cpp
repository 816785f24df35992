#include "core/layer_cost.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cmath>

#include "core/op.h"

namespace fse {
namespace {

DeviceModel any_device() {
  const auto number = [](int low, int high) { return double(*rc::gen::inRange(low, high + 1)); };
  DeviceModel d;
  d.compute_units = number(1, 300);
  d.read_gbs = number(10, 8000);
  d.peak_gbs = d.read_gbs * number(100, 150) / 100;
  d.workgroup_gbs = number(1, 200);
  d.bf16_tflops = number(1, 2500);
  d.fp8_tflops = 2 * d.bf16_tflops;
  d.gemm_share = number(1, 100) / 100;
  d.grouped_share = number(1, 100) / 100;
  d.launch_us = number(0, 80) / 10;
  d.stream_us = d.launch_us + number(0, 50) / 10;
  d.event_us = number(0, 50) / 10;
  d.interference = number(0, 50) / 100;
  d.tile_us = number(0, 60) / 10;
  d.arch = *rc::gen::element(std::string("sm_90"), std::string("gfx942"));
  d.llc_mb = number(0, 256);
  d.llc_gbs = number(0, 2) * d.read_gbs;
  d.ramp_us = number(0, 20) / 10;
  d.touch_us = number(0, 20) / 10;
  d.stage_us = number(0, 40) / 10;
  d.stage_fp8_us = number(0, 60) / 10;
  d.fp8_tile_us = number(0, 10) / 20;
  d.experts_us = number(0, 10) / 10;
  d.fused_us = number(0, 90) / 10;
  d.dependent_us = number(0, 10) / 10;
  d.plain_us = number(0, 10) / 10;
  d.barrier_us = number(0, 30) / 10;
  d.widen_gops = number(0, 2) * 5000;
  return d;
}

const DeviceInfo kInfo{.name = "sim:x",
                       .kind = "sim",
                       .arch = "gfx950",
                       .dtypes = {DType::bf16, DType::fp8_block128},
                       .graph = true,
                       .experts_fused = true};

LayerSpec any_layer() {
  LayerSpec layer{.hidden = 128 * *rc::gen::inRange(1, 32),
                  .intermediate = 128 * *rc::gen::inRange(1, 12)};
  layer.routing.experts = *rc::gen::inRange(8, 300);
  layer.routing.top_k = *rc::gen::inRange(1, 9);
  layer.routing.renormalize = true;
  layer.shared = {
      .count = 1, .shared_width = layer.intermediate, .weight = SharedWeight::sigmoid_gate};
  layer.dtype = *rc::gen::element(DType::bf16, DType::fp8_block128);
  return layer;
}

LayerPlan plan_of(const LayerSpec& layer, const Variant& variant, int tokens) {
  return make_plan(layer, measured_shard(layer, 1), variant, tokens, kInfo);
}

Variant any_variant(const LayerSpec& layer) {
  std::vector<Variant> legal;
  for (const Variant& v : all_variants())
    if (check(layer, v, kInfo).empty()) legal.push_back(v);
  return *rc::gen::elementOf(legal);
}

RoutingPrior any_prior() {
  return {.kind = *rc::gen::element(PriorKind::uniform, PriorKind::zipf),
          .parameter = *rc::gen::inRange(0, 20) / 10.0,
          .counts = {}};
}

constexpr double kSlack = 1 + 1e-9;

}  // namespace

TEST_CASE("no layer beats its bytes at the memory's peak, its matrix work, or its launches") {
  CHECK(rc::check([] {
    const DeviceModel d = any_device();
    const LayerSpec layer = any_layer();
    const LayerPlan plan = plan_of(layer, any_variant(layer), *rc::gen::inRange(1, 3000));
    const RoutingPrior prior = any_prior();
    const double us = layer_us(plan, d, prior);
    const ExpectedLoad load =
        expected_load(prior, layer.routing.experts, layer.routing.top_k, 0, plan.tokens, 1);
    const double weights = std::floor(load.distinct) *
                           static_cast<double>(expert_bytes(layer, measured_shard(layer, 1)));
    RC_ASSERT(us * kSlack >= weights / (d.peak_gbs * 1e3));
    const double flops =
        6.0 * plan.tokens * layer.routing.top_k * layer.hidden * layer.intermediate;
    RC_ASSERT(us * kSlack >= flops / (d.fp8_tflops * 1e6));
    const bool early = plan.steps.size() > 1 && d.dependent_us > 0;
    RC_ASSERT(us * kSlack >= (early ? std::min(d.dependent_us, d.launch_us) : d.launch_us));
  }));
}

TEST_CASE("faster numbers never make a layer slower, costlier launches never faster") {
  CHECK(rc::check([] {
    const DeviceModel d = any_device();
    const LayerSpec layer = any_layer();
    const LayerPlan plan = plan_of(layer, any_variant(layer), *rc::gen::inRange(1, 3000));
    const RoutingPrior prior = any_prior();
    const double us = layer_us(plan, d, prior);
    DeviceModel faster = d;
    faster.read_gbs *= 1.5;
    RC_ASSERT(layer_us(plan, faster, prior) <= us * kSlack);
    faster.bf16_tflops *= 2;
    faster.workgroup_gbs *= 2;
    RC_ASSERT(layer_us(plan, faster, prior) <= us * kSlack);
    DeviceModel slower = d;
    slower.launch_us += 1;
    slower.stream_us += 1;
    RC_ASSERT(layer_us(plan, slower, prior) >= us);
    for (double DeviceModel::*cost : {&DeviceModel::event_us, &DeviceModel::interference,
                                      &DeviceModel::fp8_tile_us, &DeviceModel::experts_us}) {
      slower = d;
      slower.*cost += 1;
      RC_ASSERT(layer_us(plan, slower, prior) * kSlack >= us);
    }
  }));
}

TEST_CASE("overlapped streams share the memory: all their bytes take what they take") {
  CHECK(rc::check([] {
    const DeviceModel d = any_device();
    LayerSpec layer = any_layer();
    layer.shared.shared_width = layer.intermediate * *rc::gen::inRange(1, 20);
    const LayerPlan plan =
        plan_of(layer, {.shared = Shared::mlp_overlapped, .launch = Launch::graph},
                *rc::gen::inRange(1, 600));
    const std::vector<StepCost> costs = layer_cost(plan, d, RoutingPrior{});
    double memory = 0;
    for (const StepCost& cost : costs) memory += cost.memory_us();
    RC_ASSERT(end_us(costs) * kSlack >= memory);
  }));
}

TEST_CASE("the parts of every step add up to its time, and none is negative") {
  CHECK(rc::check([] {
    const DeviceModel d = any_device();
    const LayerSpec layer = any_layer();
    Variant variant = any_variant(layer);
    if (variant.shared == Shared::mlp_overlapped) variant.shared = Shared::mlp;
    const LayerPlan plan = plan_of(layer, variant, *rc::gen::inRange(1, 3000));
    double sum = 0;
    const std::vector<StepCost> costs = layer_cost(plan, d, RoutingPrior{});
    for (const StepCost& cost : costs) {
      sum += cost.launch_us + cost.busy_us();
      for (const double part : {cost.launch_us, cost.weights_us, cost.activations_us, cost.math_us})
        RC_ASSERT(part >= 0);
      RC_ASSERT(cost.tail_us >= -1e-9 * sum);
      RC_ASSERT(cost.imbalance_us >= -1e-9 * sum);
    }
    RC_ASSERT(std::abs(end_us(costs) / sum - 1) < 1e-9);
  }));
}

TEST_CASE("the layer in one launch has two barriers, and more where its blocks own no output") {
  DeviceModel d;
  d.arch = "sm_90";
  d.compute_units = 128;
  d.read_gbs = d.peak_gbs = 3000;
  d.workgroup_gbs = 1000;
  d.bf16_tflops = 1e5;
  d.gemm_share = d.grouped_share = 1;
  d.launch_us = 1;
  d.barrier_us = 10;
  LayerSpec layer{.hidden = 2048, .intermediate = 512};
  layer.routing = {.experts = 128, .top_k = 8, .renormalize = true};
  const Variant variant{.gate = Gate::fused,
                        .topk = Topk::fused,
                        .shared = Shared::slot,
                        .experts = Experts::fused,
                        .launch = Launch::graph};
  layer.shared = {.count = 1, .shared_width = 512, .weight = SharedWeight::sigmoid_gate};
  const auto waits = [&](const LayerSpec& of, int tokens) {
    return layer_cost(plan_of(of, variant, tokens), d, RoutingPrior{}).front().launch_us;
  };
  CHECK(waits(layer, 1) == doctest::Approx(1 + 2 * 10));
  CHECK(waits(layer, 16) == doctest::Approx(1 + 2 * 10));
  CHECK(waits(layer, 64) == doctest::Approx(1 + 3 * 10));   // tokens are routed apart
  CHECK(waits(layer, 128) == doctest::Approx(1 + 4 * 10));  // and added up by a step of their own
  LayerSpec wide = layer;
  wide.hidden = 4096;  // 256 blocks of output rows, 128 units
  CHECK(waits(wide, 1) == doctest::Approx(1 + 3 * 10));
  d.fused_us = 5;  // measured
  CHECK(waits(layer, 1) == doctest::Approx(1 + 5));
}

TEST_CASE("a launch begins early only where no event lies between it and its predecessor") {
  DeviceModel d;
  d.arch = "sm_90";
  d.compute_units = 100;
  d.read_gbs = d.peak_gbs = 1e5;
  d.workgroup_gbs = 1e4;
  d.bf16_tflops = 1e5;
  d.gemm_share = d.grouped_share = 1;
  d.launch_us = 3;
  d.dependent_us = 1;
  LayerSpec layer{.hidden = 256, .intermediate = 128};
  layer.routing = {.experts = 8, .top_k = 2, .renormalize = true};
  layer.shared = {.count = 1, .shared_width = 128, .weight = SharedWeight::sigmoid_gate};
  const auto launches = [&](Shared shared) {
    std::vector<std::string> plain;
    const LayerPlan plan = plan_of(
        layer,
        {.gate = Gate::fused, .topk = Topk::fused, .shared = shared, .launch = Launch::graph}, 1);
    for (const StepCost& cost : layer_cost(plan, d, RoutingPrior{}))
      if (cost.launch_us > 2) plain.push_back(cost.name);
    return plain;
  };
  CHECK(launches(Shared::mlp).empty());
  CHECK(launches(Shared::slot).empty());
  const std::vector<std::string> edges{"mlp_stage1", "fused_gate", "mlp_stage2", "dispatch",
                                       "shared_add"};
  CHECK(launches(Shared::mlp_overlapped) == edges);
}

TEST_CASE("more tokens never take less time") {
  CHECK(rc::check([] {
    const DeviceModel d = any_device();
    const LayerSpec layer = any_layer();
    const Variant variant = any_variant(layer);
    const int tokens = *rc::gen::inRange(1, 1500);
    const double few = layer_us(plan_of(layer, variant, tokens), d, {});
    // Whole experts are counted, so that a step of one token may round; twice as many do not.
    RC_ASSERT(layer_us(plan_of(layer, variant, 2 * tokens), d, {}) >= few * 0.999);
  }));
}

TEST_CASE("the slot wins where launches cost everything, and each step has its launch") {
  DeviceModel d;
  d.compute_units = 256;
  d.read_gbs = d.peak_gbs = 6000;
  d.workgroup_gbs = 50;
  d.bf16_tflops = 2500;
  d.gemm_share = d.grouped_share = 0.5;
  LayerSpec layer{.hidden = 2048, .intermediate = 512};
  layer.routing = {.experts = 512, .top_k = 10, .renormalize = true};
  layer.shared = {.count = 1, .shared_width = 512, .weight = SharedWeight::sigmoid_gate};
  const LayerPlan mlp = plan_of(layer, {.launch = Launch::graph}, 8);
  const LayerPlan slot = plan_of(
      layer,
      {.gate = Gate::fused, .topk = Topk::fused, .shared = Shared::slot, .launch = Launch::graph},
      8);
  const double without = layer_us(mlp, d, {});
  d.launch_us = 1000;
  CHECK(layer_us(mlp, d, {}) - without == doctest::Approx(1000.0 * double(mlp.steps.size())));
  CHECK(layer_us(slot, d, {}) < layer_us(mlp, d, {}));
}

}  // namespace fse
