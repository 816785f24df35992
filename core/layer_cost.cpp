#include "core/layer_cost.h"

#include <algorithm>
#include <cmath>

#include "core/kernel_cost.h"

namespace fse {
namespace {

constexpr double kTileRows = 8;  // of weights that one workgroup reads: tiles have 4 to 16

bool is_grouped(Op op) {
  return op == Op::grouped_stage1 || op == Op::grouped_stage2;
}

bool is_dense(Op op) {
  return op == Op::gate_gemm || op == Op::mlp_stage1 || op == Op::mlp_stage2;
}

// Tokens that one step of the matrix unit takes: m16n8k16 on NVIDIA, 16x16x16 on AMD; a cpu's
// kernels take them one by one.
int matrix_columns(const DeviceModel& d) {
  if (d.arch == "cpu") return 1;
  return d.arch.starts_with("sm_") ? 8 : 16;
}

double weight_rows(const LayerPlan& plan, const Step& step) {
  switch (step.op) {
    case Op::gate_gemm:
      return step.row_end - step.row_begin;
    case Op::grouped_stage1:
      return 2.0 * plan.shard.intermediate;
    case Op::mlp_stage1:
      return 2.0 * plan.shard.shared.stored();
    default:
      return plan.layer.hidden;
  }
}

double activation_bytes(const LayerPlan& plan, const Step& step) {
  double bytes = 0;
  for (const auto* list : {&step.reads, &step.writes})
    for (const Buf id : *list) bytes += static_cast<double>(plan.find(id)->bytes());
  return bytes;
}

// Weights in fp8 with 16-bit activations are widened and multiplied in 16 bits.
bool widens(const LayerPlan& plan) {
  return plan.layer.dtype == DType::fp8_block128 && plan.layer.activations != Activations::fp8;
}

// They were written a moment ago, so they lie in the last-level cache where they fit.
double activation_gbs(const DeviceModel& d, double bytes) {
  const bool fits = bytes < d.llc_mb * 1e6 / 2;
  return fits ? std::max(d.llc_gbs, d.read_gbs) : d.read_gbs;
}

// fp8 weights with 16-bit activations: widened once for each block of columns they meet, and in
// tiles of 16 rows, each with its scales, and sums that its warps take together. Of a dense product
// of few rows it is small beside them.
double widening_us(const LayerPlan& plan, const Step& step, const DeviceModel& d,
                   const BatchLoad& batch) {
  constexpr double kMatrixRows = 16;
  if (!widens(plan) || d.widen_gops <= 0 || !is_grouped(step.op)) return 0;
  const double depth = step.op == Op::grouped_stage1 ? plan.layer.hidden : plan.shard.intermediate;
  const double rows = weight_rows(plan, step) * batch.blocks;
  return rows * depth / (d.widen_gops * 1e3) + rows / kMatrixRows / d.compute_units * d.fp8_tile_us;
}

void cost_math(const LayerPlan& plan, const Step& step, const DeviceModel& d,
               const BatchLoad& batch, double flops, StepCost& cost) {
  const bool grouped = is_grouped(step.op);
  const bool fp8_units = plan.layer.activations == Activations::fp8;
  const double tflops = fp8_units ? peak_tflops(plan.layer, d) : d.bf16_tflops;
  const double rate = tflops * (grouped ? d.grouped_share : d.gemm_share) * 1e6;
  const double pairs = static_cast<double>(batch.load.pairs());
  const double padding =
      grouped && pairs > 0 ? std::max(1.0, batch.blocks * matrix_columns(d) / pairs) : 1;
  const double memory = cost.memory_us() + cost.tail_us;
  const double all = widening_us(plan, step, d, batch);
  const double even = overlapped_us(memory, std::max(flops / rate, all / padding));
  cost.math_us = even - memory;
  cost.imbalance_us = overlapped_us(memory, std::max(flops / rate * padding, all)) - even;
}

void cost_work(const LayerPlan& plan, const Step& step, const DeviceModel& d,
               const BatchLoad& batch, StepCost& cost) {
  const Work work = step_work(plan, step, batch.load);
  const double activations = activation_bytes(plan, step);
  const double rate = activation_gbs(d, activations);
  cost.weights_us = (work.bytes - activations) / (d.read_gbs * 1e3);
  cost.activations_us = activations / (rate * 1e3);
  const double tiles = std::ceil(weight_rows(plan, step) / kTileRows);
  const double groups = is_grouped(step.op) ? static_cast<double>(batch.load.active()) * tiles
                        : is_dense(step.op) ? tiles
                                            : d.compute_units;
  const double waves = std::max(1.0, groups / d.compute_units);
  // As many bytes as the memory delivers in that time; a workgroup draws its part of the real ones.
  const double delivered = cost.memory_us() * d.read_gbs * 1e3;
  // Workgroups keep loading from one tile to the next: no tile_us, which is of other libraries.
  cost.tail_us = memory_us(d, delivered, work.bytes / groups, waves) - cost.memory_us();
  cost_math(plan, step, d, batch, work.flops, cost);
}

double or_else(double known, double otherwise) {
  return known > 0 ? known : otherwise;
}

double stage_us(const LayerPlan& plan, const DeviceModel& d) {
  const double us = or_else(d.stage_us, d.ramp_us);
  return plan.layer.dtype == DType::fp8_block128 ? or_else(d.stage_fp8_us, us) : us;
}

// Steps that look at every expert's score or rows take longer where there are more of them than
// kCalibratedExperts, of which touch_us and fused_us are.
bool is_routing(Op op) {
  return op == Op::score || op == Op::select || op == Op::topk || op == Op::dispatch;
}
double experts_us(const LayerPlan& plan, const DeviceModel& d) {
  return d.experts_us * std::max(0.0, plan.layer.routing.experts / double{kCalibratedExperts} - 1);
}

// Between its launch and its first result. A dense product has its weights on their way before it
// waits for its predecessor; a grouped stage must know the routing first. Small steps, and a gate
// of few rows, load, compute and store.
double ramp_us(const LayerPlan& plan, const DeviceModel& d, const Step& step) {
  constexpr int kFewRows = 16;
  if (is_grouped(step.op)) return stage_us(plan, d);
  if (is_dense(step.op) && weight_rows(plan, step) >= kFewRows) return d.ramp_us;
  if (step.op == Op::layer) return 0;
  return or_else(d.touch_us, d.ramp_us) + (is_routing(step.op) ? experts_us(plan, d) : 0);
}

// Up to so many tokens a block of the layer's kernel owns output rows, 16 of them, so that there is
// no combine; and routes all tokens itself.
constexpr int kOwnedTokens = 64, kRoutedTokens = 16, kOwnedRows = 16;

// What the layer in one launch takes beyond its launch and bytes: two barriers, behind the gate and
// between the stages. Behind the first come the routing and the first stage's loads; the second
// stage's weights are on their way before its barrier.
double fused_us(const LayerPlan& plan, const DeviceModel& d) {
  const double barrier = or_else(d.barrier_us, d.launch_us);
  const double touch = or_else(d.touch_us, d.ramp_us);
  const double parts = 2 * barrier + d.ramp_us + touch + stage_us(plan, d);
  const double known = or_else(d.fused_us, parts);
  double us = plan.layer.dtype == DType::fp8_block128 ? or_else(d.fused_fp8_us, known) : known;
  const bool owned =
      plan.tokens <= kOwnedTokens && plan.layer.hidden <= kOwnedRows * d.compute_units;
  if (!owned) us += barrier + touch;
  if (plan.tokens > kRoutedTokens) us += barrier;
  return us;
}

// op `layer`: what its steps read and compute, one after the other.
void cost_fused(const LayerPlan& plan, const DeviceModel& d, const BatchLoad& batch,
                StepCost& cost) {
  for (const Step& step : staged_steps(plan)) {
    StepCost part;
    cost_work(plan, step, d, batch, part);
    cost.weights_us += part.weights_us;
    cost.activations_us += part.activations_us;
    cost.tail_us += part.tail_us;
    cost.math_us += part.math_us;
    cost.imbalance_us += part.imbalance_us;
  }
}

// Whether a step is launched while its predecessor ends: where that is on the same stream and no
// event lies between them, which a second stream waits for or is waited for with.
std::vector<bool> begins_early(const LayerPlan& plan) {
  const auto crosses = [&](const Step& step, int before) {
    return plan.steps[static_cast<size_t>(before)].stream != step.stream;
  };
  std::vector<bool> awaited(plan.steps.size()), early;
  bool side = false;
  for (const Step& step : plan.steps) {
    side = side || step.stream == 1;
    for (const int before : step.after)
      if (crosses(step, before)) awaited[static_cast<size_t>(before)] = true;
  }
  // Without a second stream the first step follows the last of the layer before.
  std::array<bool, 2> in_front{!side, false};
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    bool& kernel = in_front[static_cast<size_t>(step.stream)];
    for (const int before : step.after) kernel = kernel && !crosses(step, before);
    early.push_back(kernel);
    kernel = !awaited[i];
  }
  return early;
}

double begin_us(const LayerPlan& plan, const DeviceModel& d, const Step& step, bool early) {
  if (plan.variant.launch == Launch::stream) return d.stream_us;
  if (step.op == Op::layer || d.dependent_us <= 0) return d.launch_us;
  if (early) return d.dependent_us;
  return d.plain_us > 0 ? d.dependent_us + d.plain_us : d.launch_us;
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

BatchLoad with_blocks(const DeviceModel& d, Load load) {
  double blocks = 0;
  for (const int64_t rows : load.rows_per_expert)
    blocks += std::ceil(static_cast<double>(rows) / matrix_columns(d));
  return {.load = std::move(load), .blocks = blocks};
}

}  // namespace

BatchLoad realised_batch(const DeviceModel& d, const Load& load) {
  return with_blocks(d, load);
}

BatchLoad expected_batch(const LayerPlan& plan, const DeviceModel& d, const RoutingPrior& prior) {
  const RoutingSpec& routing = plan.layer.routing;
  const std::vector<double> chosen = inclusion(prior, routing.experts, routing.top_k);
  const int slots = plan.expert_count() - routing.experts;
  const int64_t pairs = int64_t{plan.tokens} * routing.top_k;
  const double expected = expected_load(prior, chosen, 0, plan.tokens, 1).distinct;
  const int64_t distinct = std::clamp<int64_t>(std::llround(expected), routing.top_k,
                                               std::min<int64_t>(pairs, routing.experts));
  BatchLoad batch;
  std::vector<int64_t>& rows = batch.load.rows_per_expert;
  rows.assign(static_cast<size_t>(plan.expert_count()), 0);
  for (int64_t e = 0; e < distinct; ++e)
    rows[static_cast<size_t>(e)] = pairs / distinct + (e < pairs % distinct);
  for (int e = routing.experts; e < plan.expert_count(); ++e)
    rows[static_cast<size_t>(e)] = plan.tokens;
  batch.blocks = expected_load(prior, chosen, slots, plan.tokens, matrix_columns(d)).blocks;
  return batch;
}

std::vector<StepCost> layer_cost(const LayerPlan& plan, const DeviceModel& d,
                                 const BatchLoad& batch) {
  const std::vector<bool> early = begins_early(plan);
  std::array<double, 2> free_at{};
  double units_free_at = 0, memory_us = 0;
  std::vector<StepCost> costs;
  for (const Step& step : plan.steps) {
    const double launch = begin_us(plan, d, step, early[costs.size()]);
    const bool whole = step.op == Op::layer;
    StepCost cost{.name = step.name,
                  .launch_us = launch + (whole ? fused_us(plan, d) : ramp_us(plan, d, step))};
    if (whole)
      cost_fused(plan, d, batch, cost);
    else
      cost_work(plan, step, d, batch, cost);
    double& free = free_at[static_cast<size_t>(step.stream)];
    cost.start_us = std::max(free, ready_us(plan, step, costs, d.event_us));
    // Where streams join, the memory has delivered the bytes of both.
    if (step.op == Op::shared_add) cost.start_us = std::max(cost.start_us, memory_us);
    memory_us += cost.memory_us();
    // A product's workgroups fill the compute units' LDS: of two streams' products one waits for
    // the other, and what a second stream hides are launches, and products behind small steps.
    const bool product = is_grouped(step.op) || is_dense(step.op);
    const double wait = product ? std::max(0.0, units_free_at - cost.start_us - launch) : 0;
    const double slower = step.stream == 1 ? 1 + d.interference : 1;
    cost.end_us = cost.start_us + wait + cost.launch_us + slower * cost.busy_us();
    if (product) units_free_at = cost.end_us;
    free = cost.end_us;
    costs.push_back(std::move(cost));
  }
  return costs;
}

std::vector<StepCost> layer_cost(const LayerPlan& plan, const DeviceModel& d,
                                 const RoutingPrior& prior) {
  return layer_cost(plan, d, expected_batch(plan, d, prior));
}

double end_us(const std::vector<StepCost>& costs) {
  double end = 0;
  for (const StepCost& cost : costs) end = std::max(end, cost.end_us);
  return end;
}

double layer_us(const LayerPlan& plan, const DeviceModel& d, const RoutingPrior& prior) {
  return end_us(layer_cost(plan, d, prior));
}

}  // namespace fse
