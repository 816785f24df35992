#include "core/layer_cost.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/kernel_cost.h"
#include "core/op.h"

namespace fse {
namespace {

constexpr double kTileColumns = 64;  // of one workgroup in dense and grouped steps

// The expected batch as whole rows: as many experts as are expected to be chosen, each with its
// even part, and every slot with every row.
Load even_load(const LayerPlan& plan, const RoutingPrior& prior) {
  const RoutingSpec& routing = plan.layer.routing;
  const int64_t pairs = int64_t{plan.tokens} * routing.top_k;
  const ExpectedLoad expected =
      expected_load(prior, routing.experts, routing.top_k, 0, plan.tokens, 1);
  const int64_t distinct = std::clamp<int64_t>(std::llround(expected.distinct), routing.top_k,
                                               std::min<int64_t>(pairs, routing.experts));
  Load load;
  load.rows_per_expert.assign(static_cast<size_t>(plan.expert_count()), 0);
  for (int64_t e = 0; e < distinct; ++e)
    load.rows_per_expert[static_cast<size_t>(e)] = pairs / distinct + (e < pairs % distinct);
  for (int e = routing.experts; e < plan.expert_count(); ++e)
    load.rows_per_expert[static_cast<size_t>(e)] = plan.tokens;
  return load;
}

bool is_grouped(Op op) {
  return op == Op::grouped_stage1 || op == Op::grouped_stage2;
}

bool is_dense(Op op) {
  return op == Op::gate_gemm || op == Op::mlp_stage1 || op == Op::mlp_stage2;
}

double columns_of(const LayerPlan& plan, const Step& step) {
  switch (step.op) {
    case Op::gate_gemm:
      return step.row_end - step.row_begin;
    case Op::grouped_stage1:
      return plan.shard.intermediate;
    case Op::mlp_stage1:
      return plan.shard.shared.stored();
    default:
      return plan.layer.hidden;
  }
}

// Grouped steps compute on padded rows: as many times the flops as there are more of them.
struct Padding {
  double flops = 1, blocks = 1;
};
Padding padding_of(const LayerPlan& plan, const RoutingPrior& prior, int block_m) {
  const ExpectedLoad load =
      expected_load(prior, plan.layer.routing.experts, plan.layer.routing.top_k,
                    plan.expert_count() - plan.layer.routing.experts, plan.tokens, block_m);
  return {.flops = std::max(1.0, load.blocks * block_m / load.pairs), .blocks = load.blocks};
}

// Weights in fp8 with 16-bit activations are widened and multiplied in 16 bits.
double multiply_tflops(const LayerPlan& plan, const DeviceModel& d) {
  return plan.layer.activations == Activations::fp8 ? peak_tflops(plan.layer, d) : d.bf16_tflops;
}

void cost_work(const LayerPlan& plan, const Step& step, const DeviceModel& d,
               const RoutingPrior& prior, const Load& load, StepCost& cost) {
  const Work work = step_work(plan, step, load);
  const double tiles = std::ceil(columns_of(plan, step) / kTileColumns);
  const double tflops = multiply_tflops(plan, d);
  if (!is_grouped(step.op)) {
    const double groups = is_dense(step.op) ? tiles : d.compute_units;
    cost.memory_us = memory_us(d, work.bytes, work.bytes / groups, 1);
    cost.math_us = work.flops / (tflops * d.gemm_share * 1e6);
    return;
  }
  double best = INFINITY;
  for (const int block_m : {16, 32, 64, 128}) {
    const Padding padding = padding_of(plan, prior, block_m);
    const double groups = padding.blocks * tiles;
    const double waves = std::max(1.0, groups / d.compute_units);
    const double memory = memory_us(d, work.bytes, work.bytes / groups, waves) + waves * d.tile_us;
    const double math = work.flops * padding.flops / (tflops * d.grouped_share * 1e6);
    if (std::max(memory, math) >= best) continue;
    best = std::max(memory, math);
    cost.memory_us = memory;
    cost.math_us = math;
  }
}

// op `layer`: its steps without their launches; between two of them all blocks wait for each other,
// which takes about what a dependent launch in a graph does.
void cost_fused(const LayerPlan& plan, const DeviceModel& d, const RoutingPrior& prior,
                const Load& load, StepCost& cost) {
  const std::vector<Step> inner = staged_steps(plan);
  for (const Step& step : inner) {
    StepCost part;
    cost_work(plan, step, d, prior, load, part);
    cost.memory_us += std::max(part.memory_us, part.math_us);
  }
  cost.launch_us += d.launch_us * static_cast<double>(inner.size() - 1);
}

// When it can start: after what it waits for, an event later where that ran on the other stream.
double ready_us(const LayerPlan& plan, const Step& step, const std::vector<StepCost>& done,
                double event_us) {
  double ready = 0;
  for (const int before : step.after) {
    const auto i = static_cast<size_t>(before);
    const bool crosses = plan.steps[i].stream != step.stream;
    ready = std::max(ready, done[i].end_us + (crosses ? event_us : 0));
  }
  return ready;
}

}  // namespace

std::vector<StepCost> layer_cost(const LayerPlan& plan, const DeviceModel& d,
                                 const RoutingPrior& prior) {
  const Load load = even_load(plan, prior);
  const double launch = plan.variant.launch == Launch::graph ? d.launch_us : d.stream_us;
  // Two streams share the memory: what they do at the same time takes longer.
  const bool overlapped = plan.variant.shared == Shared::mlp_overlapped;
  std::array<double, 2> free_at{};
  std::vector<StepCost> costs;
  for (const Step& step : plan.steps) {
    StepCost cost{.name = step.name, .launch_us = launch};
    if (step.op == Op::layer)
      cost_fused(plan, d, prior, load, cost);
    else
      cost_work(plan, step, d, prior, load, cost);
    const double slower = overlapped && step.stream == 1 ? 1 + d.interference : 1;
    double& free = free_at[static_cast<size_t>(step.stream)];
    cost.start_us = std::max(free, ready_us(plan, step, costs, d.event_us));
    cost.end_us = cost.start_us + cost.launch_us + slower * std::max(cost.memory_us, cost.math_us);
    free = cost.end_us;
    costs.push_back(std::move(cost));
  }
  return costs;
}

double layer_us(const LayerPlan& plan, const DeviceModel& d, const RoutingPrior& prior) {
  double end = 0;
  for (const StepCost& cost : layer_cost(plan, d, prior)) end = std::max(end, cost.end_us);
  return end;
}

}  // namespace fse
