#include "core/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/case.h"
#include "core/error.h"
#include "core/phases.h"
#include "core/weights.h"

namespace fse {

const Buffer* LayerPlan::find(Buf id) const {
  for (const Buffer& buffer : buffers)
    if (buffer.id == id) return &buffer;
  return nullptr;
}

namespace {

using Bufs = std::vector<Buf>;

void add(LayerPlan& plan, Op op, std::string name, Bufs reads, Bufs writes, int stream = 0) {
  plan.steps.push_back({.op = op,
                        .name = std::move(name),
                        .reads = std::move(reads),
                        .writes = std::move(writes),
                        .stream = stream});
}

void add_gate(LayerPlan& plan, std::string name, int row_begin, int row_end, Buf logits) {
  add(plan, Op::gate_gemm, std::move(name), {Buf::x}, {logits});
  plan.steps.back().row_begin = row_begin;
  plan.steps.back().row_end = row_end;
}

void add_gates(LayerPlan& plan) {
  const int experts = plan.layer.routing.experts;
  const int rows = experts + plan.layer.gate_rows();
  if (plan.variant.gate == Gate::fused)
    return add_gate(plan, "fused_gate", 0, rows, Buf::router_logits);
  add_gate(plan, "router_gate", 0, experts, Buf::router_logits);
  if (rows > experts) add_gate(plan, "shared_gate", experts, rows, Buf::shared_logits);
}

// Where the shared gate's logit is: its own buffer, or a column of the fused gate's.
Buf shared_logit_buffer(const LayerPlan& plan) {
  return plan.variant.gate == Gate::fused ? Buf::router_logits : Buf::shared_logits;
}

void add_fused_topk(LayerPlan& plan) {
  Bufs reads{Buf::router_logits};
  Bufs writes{Buf::topk_ids, Buf::topk_weights};
  if (plan.layer.gate_rows() > 0) {
    if (plan.variant.gate == Gate::separate) reads.push_back(Buf::shared_logits);
    if (plan.has_mlp()) writes.push_back(Buf::shared_weight);
  }
  add(plan, Op::topk, "topk", std::move(reads), std::move(writes));
}

void add_unfused_topk(LayerPlan& plan) {
  const RoutingSpec& routing = plan.layer.routing;
  add(plan, Op::score, "score", {Buf::router_logits}, {Buf::scores});
  add(plan, Op::select, "select", {Buf::scores}, {Buf::topk_ids, Buf::topk_weights});
  if (routing.renormalize || routing.scaling != 1)  // otherwise there is nothing to launch
    add(plan, Op::renormalize, "renormalize", {Buf::topk_weights}, {Buf::topk_weights});
  if (plan.layer.gate_rows() > 0)
    add(plan, Op::shared_activation, "shared_activation", {shared_logit_buffer(plan)},
        {Buf::shared_weight});
  if (!plan.has_slots()) return;
  Bufs reads{Buf::topk_ids, Buf::topk_weights};
  if (plan.layer.gate_rows() > 0) reads.push_back(Buf::shared_weight);
  add(plan, Op::slot_append, "slot_append", std::move(reads), {Buf::topk_ids, Buf::topk_weights});
}

int mlp_stream(const LayerPlan& plan) {
  return plan.variant.shared == Shared::mlp_overlapped ? 1 : 0;
}

void add_mlp_stage1(LayerPlan& plan) {
  add(plan, Op::mlp_stage1, "mlp_stage1", {Buf::x}, {Buf::shared_h}, mlp_stream(plan));
}

void add_mlp_stage2(LayerPlan& plan) {
  Bufs reads{Buf::shared_h};
  if (plan.layer.gate_rows() > 0) reads.push_back(Buf::shared_weight);
  add(plan, Op::mlp_stage2, "mlp_stage2", std::move(reads), {Buf::shared_out}, mlp_stream(plan));
}

void add_experts(LayerPlan& plan) {
  add(plan, Op::dispatch, "dispatch", {Buf::topk_ids}, {Buf::expert_offsets, Buf::sorted_pairs});
  add(plan, Op::grouped_stage1, "grouped_stage1", {Buf::x, Buf::expert_offsets, Buf::sorted_pairs},
      {Buf::h});
  add(plan, Op::grouped_stage2, "grouped_stage2",
      {Buf::h, Buf::topk_weights, Buf::expert_offsets, Buf::sorted_pairs}, {Buf::y});
  add(plan, Op::combine, "combine", {Buf::y, Buf::topk_ids}, {Buf::out});
}

void add_staged(LayerPlan& plan) {
  const Variant& variant = plan.variant;
  // Overlapped, the shared expert needs the input alone: it starts beside the router.
  if (variant.shared == Shared::mlp_overlapped) add_mlp_stage1(plan);
  add_gates(plan);
  if (variant.topk == Topk::fused)
    add_fused_topk(plan);
  else
    add_unfused_topk(plan);
  if (variant.shared == Shared::mlp) add_mlp_stage1(plan);
  if (plan.has_mlp()) add_mlp_stage2(plan);
  add_experts(plan);
  if (plan.has_mlp())
    add(plan, Op::shared_add, "shared_add", {Buf::out, Buf::shared_out}, {Buf::out});
}

bool contains(const Bufs& list, Buf id) {
  return std::find(list.begin(), list.end(), id) != list.end();
}

// The steps of the plan as one. What only they see need not outlive them, nor be written at all.
Step one_step(const LayerPlan& plan) {
  Step layer{.op = Op::layer,
             .name = "layer",
             .reads = {Buf::x},
             .writes = {Buf::topk_ids, Buf::topk_weights, Buf::out},
             .row_end = plan.layer.routing.experts + plan.layer.gate_rows()};
  for (const Step& part : plan.steps)
    for (Buf id : part.writes)
      if (!contains(layer.writes, id) && !contains(layer.scratch, id)) layer.scratch.push_back(id);
  return layer;
}

// A step waits for the last writer of what it reads, and for the last users of what it writes.
void add_dependencies(LayerPlan& plan) {
  std::map<Buf, int> writer;
  std::map<Buf, std::set<int>> readers;
  for (int i = 0; i < static_cast<int>(plan.steps.size()); ++i) {
    Step& step = plan.steps[static_cast<size_t>(i)];
    std::set<int> after;
    for (Buf id : step.reads)
      if (writer.count(id)) after.insert(writer[id]);
    for (Buf id : step.writes) {
      if (writer.count(id)) after.insert(writer[id]);
      after.insert(readers[id].begin(), readers[id].end());
    }
    for (Buf id : step.reads) readers[id].insert(i);
    for (Buf id : step.writes) {
      writer[id] = i;
      readers[id].clear();
    }
    after.erase(i);
    step.after.assign(after.begin(), after.end());
  }
}

// Where streams overlap on a cpu, each has a part of the threads.
void share_threads(LayerPlan& plan, const DeviceInfo& device) {
  if (device.kind != "cpu") return;
  for (const Phase& phase : make_phases(plan, device.compute_units))
    for (const Lane& lane : phase)
      for (int i : lane.steps)
        if (lane.threads < device.compute_units)
          plan.steps[static_cast<size_t>(i)].threads = lane.threads;
}

Buffer declare(const LayerPlan& plan, Buf id, Element activation) {
  const LayerSpec& layer = plan.layer;
  const int64_t tokens = plan.tokens;
  const int64_t fused_rows = plan.variant.gate == Gate::fused ? layer.gate_rows() : 0;
  switch (id) {
    case Buf::x:
    case Buf::shared_out:
    case Buf::out:
      return {id, activation, tokens, layer.hidden};
    case Buf::router_logits:
      return {id, Element::f32, tokens, layer.routing.experts + fused_rows};
    case Buf::shared_logits:
    case Buf::shared_weight:
      return {id, Element::f32, tokens, 1};
    case Buf::scores:
      return {id, Element::f32, tokens, layer.routing.experts};
    case Buf::topk_ids:
      return {id, Element::i32, tokens, plan.choices()};
    case Buf::topk_weights:
      return {id, Element::f32, tokens, plan.choices()};
    case Buf::expert_offsets:
      return {id, Element::i32, 1, plan.expert_count() + 1};
    case Buf::sorted_pairs:
      return {id, Element::i32, 1, plan.pairs()};
    case Buf::h:
      return {id, activation, plan.pairs(), plan.shard.intermediate};
    case Buf::y:
      return {id, activation, plan.pairs(), layer.hidden};
    case Buf::shared_h:
      return {id, activation, tokens, int64_t{plan.shard.slots} * plan.shard.intermediate};
  }
  throw std::logic_error("a buffer is not declared");
}

Element activation_element(const LayerPlan& plan, const DeviceInfo& device) {
  if (!device.half_activations) return Element::f32;
  return plan.layer.dtype == DType::f16 ? Element::f16 : Element::bf16;
}

void declare_buffers(LayerPlan& plan, const DeviceInfo& device) {
  std::set<Buf> used;
  for (const Step& step : plan.steps) {
    used.insert(step.reads.begin(), step.reads.end());
    used.insert(step.writes.begin(), step.writes.end());
    used.insert(step.scratch.begin(), step.scratch.end());
  }
  const Element activation = activation_element(plan, device);
  for (Buf id : used) plan.buffers.push_back(declare(plan, id, activation));
}

}  // namespace

std::vector<Step> staged_steps(const LayerPlan& plan) {
  if (!plan.steps.empty() && plan.steps.front().op != Op::layer) return plan.steps;
  LayerPlan parts{.layer = plan.layer,
                  .shard = plan.shard,
                  .variant = plan.variant,
                  .tokens = plan.tokens,
                  .buffers = {},
                  .steps = {}};
  add_staged(parts);
  return parts.steps;
}

LayerPlan make_plan(const LayerSpec& layer, const Shard& shard, const Variant& variant, int tokens,
                    const DeviceInfo& device) {
  validate(layer);
  if (tokens < 1) fail_usage(fmt::format("tokens is {}, expected at least 1", tokens));
  const std::vector<std::string> reasons = check(layer, variant, device);
  if (!reasons.empty()) throw Refused(fmt::format("{}", fmt::join(reasons, "; ")));

  LayerPlan plan{.layer = layer,
                 .shard = shard,
                 .variant = variant,
                 .tokens = tokens,
                 .buffers = {},
                 .steps = {}};
  plan.steps = staged_steps(plan);
  if (variant.experts == Experts::fused) plan.steps = {one_step(plan)};
  add_dependencies(plan);
  share_threads(plan, device);
  declare_buffers(plan, device);
  return plan;
}

LayerPlan make_plan(const Case& c, const DeviceInfo& device) {
  return make_plan(c.layer, measured_shard(c.layer, c.tp), c.variant, c.tokens, device);
}

namespace {

std::string routing_key(const LayerPlan& plan) {
  const RoutingSpec& r = plan.layer.routing;
  return fmt::format(
      "experts={} top_k={} score={} bias={} groups={}/{} group_score={} "
      "renormalize={} scaling={}",
      r.experts, r.top_k, to_name(r.score), r.selection_bias, r.groups_kept, r.groups,
      to_name(r.group_score), r.renormalize, r.scaling);
}

std::string matrix_key(const LayerPlan& plan) {
  return fmt::format("hidden={} intermediate={} dtype={} activations={}", plan.layer.hidden,
                     plan.shard.intermediate, to_name(plan.layer.dtype),
                     to_name(plan.layer.activations));
}

std::string shared_key(const LayerPlan& plan) {
  const SharedSpec& s = plan.layer.shared;
  return fmt::format("slots={} shared_width={} shared_weight={} constant={}", plan.shard.slots,
                     plan.shard.shared.stored(), to_name(s.weight), s.constant);
}

std::string shape_key(const LayerPlan& plan, const Step& step) {
  const LayerSpec& layer = plan.layer;
  const auto* logits = plan.find(Buf::router_logits);
  switch (step.op) {
    case Op::gate_gemm:
      return fmt::format("hidden={} rows={} dtype={}", layer.hidden, step.row_end - step.row_begin,
                         to_name(router_dtype(layer)));
    case Op::score:
      return fmt::format("experts={} stride={} score={}", layer.routing.experts, logits->cols,
                         to_name(layer.routing.score));
    case Op::select:
    case Op::renormalize:
      return routing_key(plan) + fmt::format(" stride={}", plan.choices());
    case Op::shared_activation:
      return fmt::format("stride={}", plan.variant.gate == Gate::fused ? logits->cols : 1);
    case Op::slot_append:
      return fmt::format("top_k={} {}", layer.routing.top_k, shared_key(plan));
    case Op::topk:
      return fmt::format("{} {} gate={} slot={}", routing_key(plan), shared_key(plan),
                         to_name(plan.variant.gate), plan.has_slots());
    case Op::dispatch:
      return fmt::format("experts={} choices={}", plan.expert_count(), plan.choices());
    case Op::grouped_stage1:
    case Op::grouped_stage2:
      return fmt::format("{} experts={} choices={} top_k={}", matrix_key(plan), plan.expert_count(),
                         plan.choices(), layer.routing.top_k);
    case Op::combine:
      return fmt::format("hidden={} choices={}", layer.hidden, plan.choices());
    case Op::mlp_stage1:
    case Op::mlp_stage2:
      return matrix_key(plan) + " " + shared_key(plan);
    case Op::shared_add:
      return fmt::format("hidden={}", layer.hidden);
    case Op::layer:
      return fmt::format("{} {} {} slot={}", matrix_key(plan), routing_key(plan), shared_key(plan),
                         plan.has_slots());
  }
  throw std::logic_error("an op has no shape key");
}

}  // namespace

std::string step_key(const LayerPlan& plan, const Step& step) {
  return fmt::format("{} tokens={} {}{}", to_name(step.op), plan.tokens, shape_key(plan, step),
                     step.threads == 0 ? "" : fmt::format(" threads={}", step.threads));
}

int64_t expert_bytes(const LayerSpec& layer, const Shard& shard) {
  const int64_t elements = int64_t{3} * shard.intermediate * layer.hidden;
  const int64_t scales =
      layer.dtype == DType::fp8_block128
          ? int64_t{3} * scale_blocks(shard.intermediate) * scale_blocks(layer.hidden) * 4
          : 0;
  return elements * element_bytes(layer.dtype) + scales;
}

int64_t weight_bytes(const LayerSpec& layer, const Shard& shard) {
  const int64_t experts = layer.routing.experts;
  const int64_t router =
      (experts + layer.gate_rows()) * layer.hidden * element_bytes(router_dtype(layer));
  const int64_t bias = layer.routing.selection_bias ? experts * 4 : 0;
  return router + bias + (experts + shard.slots) * expert_bytes(layer, shard);
}

int64_t buffer_bytes(const LayerPlan& plan) {
  int64_t total = 0;
  for (const Buffer& buffer : plan.buffers) total += buffer.bytes();
  return total;
}

}  // namespace fse
