#include <algorithm>

#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/families.h"
#include "kernels/cpu/select.h"
#include "kernels/cpu/team.h"

namespace fse {
namespace {

// This thread's tokens. A decode step's routing is a few microseconds of work: fewer threads than
// there are may then be faster than sharing it out.
template <class Work>
void for_my_tokens(const CpuArgs& a, const Tile& tile, const Team& team, const Work& work) {
  const std::optional<Team> part = team.first(tile.at("threads"));
  if (!part) return;
  const auto [first, last] = part->share(a.plan.tokens);
  for (int64_t t = first; t < last; ++t) work(t);
}

int64_t logits_stride(const CpuArgs& a) {
  return a.plan.find(Buf::router_logits)->cols;
}

void score_row(const RoutingSpec& r, const float* logits, float* scores) {
  if (r.score == ScoreFunction::softmax)
    softmax(logits, scores, r.experts);
  else
    sigmoid(logits, scores, r.experts);
}

void score(const CpuArgs& a, const Tile& tile, Team& team) {
  const RoutingSpec& r = a.plan.layer.routing;
  for_my_tokens(a, tile, team, [&](int64_t t) {
    score_row(r, a.f32(Buf::router_logits) + t * logits_stride(a),
              a.f32(Buf::scores) + t * r.experts);
  });
}

void select(const CpuArgs& a, const Tile& tile, Team& team) {
  const RoutingSpec& r = a.plan.layer.routing;
  const auto scratch = team.scratch().get<Candidate>(0, select_scratch(r));
  const int64_t stride = a.plan.choices();
  for_my_tokens(a, tile, team, [&](int64_t t) {
    int32_t* ids = a.i32(Buf::topk_ids) + t * stride;
    float* weights = a.f32(Buf::topk_weights) + t * stride;
    select_row(r, a.f32(Buf::scores) + t * r.experts, a.weights.selection_bias, scratch, ids,
               weights);
    // Columns of slots stay empty until slot_append fills them.
    std::fill(ids + r.top_k, ids + stride, -1);
    std::fill(weights + r.top_k, weights + stride, 0.0f);
  });
}

void renormalize(const CpuArgs& a, const Tile& tile, Team& team) {
  for_my_tokens(a, tile, team, [&](int64_t t) {
    weigh_row(a.plan.layer.routing, a.f32(Buf::topk_weights) + t * a.plan.choices());
  });
}

float shared_weight_of(const CpuArgs& a, int64_t t) {
  const bool fused = a.plan.variant.gate == Gate::fused;
  const float* logit =
      fused ? a.f32(Buf::router_logits) + t * logits_stride(a) + a.plan.layer.routing.experts
            : a.f32(Buf::shared_logits) + t;
  float weight;
  sigmoid(logit, &weight, 1);
  return weight;
}

void append_slots(const CpuArgs& a, int64_t t, float weight) {
  const int top_k = a.plan.layer.routing.top_k;
  const int64_t row = t * a.plan.choices() + top_k;
  for (int s = 0; s < a.plan.shard.slots; ++s) {
    a.i32(Buf::topk_ids)[row + s] = a.plan.layer.routing.experts + s;
    a.f32(Buf::topk_weights)[row + s] = weight;
  }
}

void shared_activation(const CpuArgs& a, const Tile& tile, Team& team) {
  for_my_tokens(a, tile, team,
                [&](int64_t t) { a.f32(Buf::shared_weight)[t] = shared_weight_of(a, t); });
}

void slot_append(const CpuArgs& a, const Tile& tile, Team& team) {
  const bool gated = a.plan.layer.gate_rows() > 0;
  const auto constant = static_cast<float>(a.plan.layer.shared.constant);
  for_my_tokens(a, tile, team, [&](int64_t t) {
    append_slots(a, t, gated ? a.f32(Buf::shared_weight)[t] : constant);
  });
}

void topk(const CpuArgs& a, const Tile& tile, Team& team) {
  const RoutingSpec& r = a.plan.layer.routing;
  const bool gated = a.plan.layer.gate_rows() > 0;
  const auto scratch = team.scratch().get<Candidate>(0, select_scratch(r));
  float* scores = team.scratch().get<float>(1, r.experts).data();
  const int64_t stride = a.plan.choices();
  for_my_tokens(a, tile, team, [&](int64_t t) {
    float* weights = a.f32(Buf::topk_weights) + t * stride;
    score_row(r, a.f32(Buf::router_logits) + t * logits_stride(a), scores);
    select_row(r, scores, a.weights.selection_bias, scratch, a.i32(Buf::topk_ids) + t * stride,
               weights);
    weigh_row(r, weights);
    if (!a.plan.layer.has_shared()) return;
    const float shared =
        gated ? shared_weight_of(a, t) : static_cast<float>(a.plan.layer.shared.constant);
    if (a.plan.has_slots()) append_slots(a, t, shared);
    if (a.plan.has_mlp() && gated) a.f32(Buf::shared_weight)[t] = shared;
  });
}

// Stable counting sort by expert. Every thread counts all pairs, which is cheaper than a barrier,
// and places those of its own share of the experts.
void dispatch(const CpuArgs& a, const Tile& tile, Team& team) {
  const std::optional<Team> part = team.first(tile.at("threads"));
  if (!part) return;
  const int64_t experts = a.plan.expert_count();
  const int64_t pairs = a.plan.pairs();
  const int32_t* ids = a.i32(Buf::topk_ids);
  const auto valid = [&](int32_t id) { return id >= 0 && id < experts; };

  const auto next = team.scratch().get<int32_t>(0, experts + 1);
  std::fill(next.begin(), next.end(), 0);
  for (int64_t p = 0; p < pairs; ++p)
    if (valid(ids[p])) ++next[static_cast<size_t>(ids[p]) + 1];
  for (size_t e = 1; e < next.size(); ++e) next[e] += next[e - 1];

  int32_t* sorted = a.i32(Buf::sorted_pairs);
  if (part->rank() == 0) {
    std::copy(next.begin(), next.end(), a.i32(Buf::expert_offsets));
    std::fill(sorted + next.back(), sorted + pairs, -1);
  }
  const auto [first, last] = part->share(experts);
  for (int64_t p = 0; p < pairs; ++p)
    if (valid(ids[p]) && ids[p] >= first && ids[p] < last)
      sorted[next[static_cast<size_t>(ids[p])]++] = static_cast<int32_t>(p);
}

Tile default_tile(const LayerPlan& plan, const Step&, const DeviceInfo&) {
  return {{{"threads", plan.tokens >= 8 ? 0 : 1}}};
}

KernelDef per_token(const char* name, Op op, void (*run)(const CpuArgs&, const Tile&, Team&)) {
  return {.name = name,
          .op = op,
          .device = "cpu",
          .axes = {threads_axis()},
          .legal = always_legal,
          .fits = threads_fit,
          .default_tile = default_tile,
          .run_cpu = run};
}

}  // namespace

std::vector<KernelDef> cpu_routing_kernels() {
  return {per_token("cpu.score", Op::score, score),
          per_token("cpu.select", Op::select, select),
          per_token("cpu.renormalize", Op::renormalize, renormalize),
          per_token("cpu.shared_activation", Op::shared_activation, shared_activation),
          per_token("cpu.slot_append", Op::slot_append, slot_append),
          per_token("cpu.topk", Op::topk, topk),
          per_token("cpu.dispatch", Op::dispatch, dispatch)};
}

}  // namespace fse
