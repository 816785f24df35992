#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/layer_spec.h"
#include "core/variant.h"

namespace fse {

struct Case;  // core/case.h

// Everything a layer passes from step to step. P = tokens * choices pairs; choices = top_k routed
// experts per token, plus the slots where the shared expert is a slot. On devices with
// `half_activations` x, h, y, shared_h, shared_out and out are 16 bit: f16 in f16 layers, else
// bf16.
enum class Buf {
  x,               // [tokens, hidden] f32 (bf16-exact values where the layer is 16 bit or fp8)
  router_logits,   // [tokens, experts] f32; gate=fused: [tokens, experts + gate_rows]
  shared_logits,   // [tokens, 1] f32; only gate=separate with a shared gate
  scores,          // [tokens, experts] f32; only topk=unfused
  topk_ids,        // [tokens, choices] i32; -1 or any id outside [0, experts + slots) means empty
  topk_weights,    // [tokens, choices] f32: final weights, renormalised and scaled
  shared_weight,   // [tokens, 1] f32; only shared=mlp* with a shared gate, and topk=unfused slots
  expert_offsets,  // [experts + slots + 1] i32: rows of expert e are [offsets[e], offsets[e+1])
  sorted_pairs,    // [P] i32: pair index token * choices + choice, by expert, then by pair
  h,               // [P, intermediate] f32, rows in sorted order: silu(gate) * up
  y,               // [P, hidden] f32, rows in pair order: weight * down(h)
  shared_h,        // [tokens, slots * intermediate] f32; only shared=mlp*
  shared_out,      // [tokens, hidden] f32, weighted; only shared=mlp*
  out,             // [tokens, hidden] f32
};
template <>
inline constexpr NameTable<Buf, 14> kNames<Buf>{{{Buf::x, "x"},
                                                 {Buf::router_logits, "router_logits"},
                                                 {Buf::shared_logits, "shared_logits"},
                                                 {Buf::scores, "scores"},
                                                 {Buf::topk_ids, "topk_ids"},
                                                 {Buf::topk_weights, "topk_weights"},
                                                 {Buf::shared_weight, "shared_weight"},
                                                 {Buf::expert_offsets, "expert_offsets"},
                                                 {Buf::sorted_pairs, "sorted_pairs"},
                                                 {Buf::h, "h"},
                                                 {Buf::y, "y"},
                                                 {Buf::shared_h, "shared_h"},
                                                 {Buf::shared_out, "shared_out"},
                                                 {Buf::out, "out"}}};
inline constexpr int kBufCount = 14;

enum class Element { f32, i32, bf16, f16 };
constexpr int64_t element_bytes(Element e) {
  return e == Element::f32 || e == Element::i32 ? 4 : 2;
}

struct Buffer {
  Buf id;
  Element element;
  int64_t rows = 0, cols = 0;
  int64_t bytes() const { return rows * cols * element_bytes(element); }
};

// One op, one launch. The op's arithmetic is declared once, in op.h.
enum class Op {
  gate_gemm,          // rows [row_begin, row_end) of the router matrix times x -> logits
  score,              // logits -> scores (softmax or sigmoid over the routed experts)
  select,             // scores (+ bias, groups) -> topk_ids, their scores as topk_weights
  renormalize,        // topk_weights: divide by their sum (where the layer does), times scaling
  shared_activation,  // shared gate logit -> shared_weight
  slot_append,        // shared ids and weights behind the routed ones
  topk,               // all of the above in one launch: topk=fused
  dispatch,           // topk_ids -> expert_offsets, sorted_pairs
  grouped_stage1,     // gate_up and SiLU-mul per expert -> h
  grouped_stage2,     // down and weight per expert -> y
  combine,            // sum of a token's y rows, in choice order -> out
  mlp_stage1,         // the shared expert as a dense MLP -> shared_h
  mlp_stage2,         // down, times the shared weight -> shared_out
  shared_add,         // out += shared_out
  layer,              // the gate to the combine in one cooperative launch: experts=fused
};
template <>
inline constexpr NameTable<Op, 15> kNames<Op>{{{Op::gate_gemm, "gate_gemm"},
                                               {Op::score, "score"},
                                               {Op::select, "select"},
                                               {Op::renormalize, "renormalize"},
                                               {Op::shared_activation, "shared_activation"},
                                               {Op::slot_append, "slot_append"},
                                               {Op::topk, "topk"},
                                               {Op::dispatch, "dispatch"},
                                               {Op::grouped_stage1, "grouped_stage1"},
                                               {Op::grouped_stage2, "grouped_stage2"},
                                               {Op::combine, "combine"},
                                               {Op::mlp_stage1, "mlp_stage1"},
                                               {Op::mlp_stage2, "mlp_stage2"},
                                               {Op::shared_add, "shared_add"},
                                               {Op::layer, "layer"}}};

struct Step {
  Op op;
  std::string name;        // unique in its plan: "router_gate", "shared_gate", "grouped_stage1"
  std::vector<Buf> reads;  // activations only; weights follow from the op
  std::vector<Buf> writes;
  std::vector<Buf> scratch;  // layer only: used between its ops, undefined before and after
  std::vector<int> after;    // indices of steps that must have finished
  int stream = 0;            // 1: the overlapped stream of shared=mlp_overlapped
  int threads = 0;  // on a cpu whose streams overlap: those of this step's lane; 0: all there are
  int row_begin = 0, row_end = 0;  // gate_gemm, layer: rows of the router matrix
};

// The layer as ordered steps. Immutable, complete before anything is allocated.
struct LayerPlan {
  LayerSpec layer;
  Shard shard;
  Variant variant;
  int tokens = 0;
  std::vector<Buffer> buffers;  // only those this variant uses
  std::vector<Step> steps;      // in an order that satisfies `after`

  bool has_slots() const { return variant.shared == Shared::slot; }
  bool has_mlp() const {
    return variant.shared == Shared::mlp || variant.shared == Shared::mlp_overlapped;
  }
  // Expert indices the grouped kernels may see: E, or E + slots.
  int expert_count() const { return layer.routing.experts + (has_slots() ? shard.slots : 0); }
  // Expert indices per token: top_k, or top_k + slots.
  int choices() const { return layer.routing.top_k + (has_slots() ? shard.slots : 0); }
  int64_t pairs() const { return int64_t{tokens} * choices(); }
  const Buffer* find(Buf id) const;  // nullptr where the plan has no such buffer
};

// Throws Refused with every reason of check() where the combination is not legal on the device.
LayerPlan make_plan(const LayerSpec&, const Shard&, const Variant&, int tokens, const DeviceInfo&);
LayerPlan make_plan(const Case&, const DeviceInfo&);  // of the rank that is measured

// The steps of the plan, op `layer` taken apart: what it computes is what these compute in turn.
// The plan's own steps where it has no such op.
std::vector<Step> staged_steps(const LayerPlan&);

// What a step's time depends on, besides device and workload: one line, the same for the same work
// in two variants, so that it is tuned once. E.g.
// "grouped_stage1 tokens=4 hidden=2048 intermediate=512 experts=513 choices=11 dtype=bf16".
std::string step_key(const LayerPlan&, const Step&);

// Bytes of one expert index (gate, up, down and their scales), of all packed weights (one set), and
// of all activation buffers.
int64_t expert_bytes(const LayerSpec&, const Shard&);
int64_t weight_bytes(const LayerSpec&, const Shard&);
int64_t buffer_bytes(const LayerPlan&);

}  // namespace fse
