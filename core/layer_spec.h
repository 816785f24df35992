#pragma once
#include <string>
#include <vector>

#include "core/dtype.h"

namespace fse {

enum class ScoreFunction { softmax, sigmoid };
template <>
inline constexpr NameTable<ScoreFunction, 2> kNames<ScoreFunction>{
    {{ScoreFunction::softmax, "softmax"}, {ScoreFunction::sigmoid, "sigmoid"}}};

// How a group of experts is scored before groups are chosen: DeepSeek-V2 takes the best expert's
// score, DeepSeek-V3 the sum of the two best.
enum class GroupScore { max, sum_of_top2 };
template <>
inline constexpr NameTable<GroupScore, 2> kNames<GroupScore>{
    {{GroupScore::max, "max"}, {GroupScore::sum_of_top2, "sum_of_top2"}}};

struct RoutingSpec {
  int experts = 0;  // routed experts, E
  int top_k = 0;    // routed experts per token
  ScoreFunction score = ScoreFunction::softmax;
  bool selection_bias = false;  // a learned per-expert bias, used to select, never to weight
  int groups = 1;
  int groups_kept = 1;
  GroupScore group_score = GroupScore::max;
  bool renormalize = false;  // chosen weights are divided by their sum
  double scaling = 1.0;      // multiplies the routed part only, after renormalisation
};

enum class SharedWeight { constant, sigmoid_gate };
template <>
inline constexpr NameTable<SharedWeight, 2> kNames<SharedWeight>{
    {{SharedWeight::constant, "constant"}, {SharedWeight::sigmoid_gate, "sigmoid_gate"}}};

struct SharedSpec {
  int count = 0;         // shared experts in the checkpoint; stored as one MLP of `width`
  int shared_width = 0;  // intermediate width of all shared experts together; 0 means none
  SharedWeight weight = SharedWeight::constant;
  double constant = 1.0;  // the weight where it is constant
};

enum class Activations { bf16, fp8 };  // fp8_block128 only: what the expert kernels multiply with
template <>
inline constexpr NameTable<Activations, 2> kNames<Activations>{
    {{Activations::bf16, "bf16"}, {Activations::fp8, "fp8"}}};

// What one MoE layer *is*, whatever executes it.
struct LayerSpec {
  std::string model;  // preset name or the config's path, for people
  int hidden = 0;
  int intermediate = 0;  // width of one routed expert
  RoutingSpec routing;
  SharedSpec shared;
  DType dtype = DType::bf16;
  Activations activations = Activations::bf16;

  bool has_shared() const { return shared.shared_width > 0; }
  // Learned shared gates: rows appended to the router matrix. 0 or 1.
  int gate_rows() const { return has_shared() && shared.weight == SharedWeight::sigmoid_gate; }
};

// Every field that changes the layer's arithmetic, one "key=value" per line, in a fixed order.
// The model's name is not among them: two names for the same layer share their results.
std::string canonical_text(const LayerSpec&);

// Throws Error(usage) naming the first field that is out of range (top_k > experts, groups that do
// not divide experts, more experts wanted than the kept groups hold, ...).
void validate(const LayerSpec&);

// A half-open range of an intermediate axis: what a rank owns of the checkpoint's axis, and what it
// stores. fp8 ranges that begin or end inside a scale block are extended to the checkpoint's block
// grid on both sides; the added columns hold zeros under the unchanged scales.
struct AxisRange {
  int begin = 0, end = 0;                // owned
  int stored_begin = 0, stored_end = 0;  // stored, contains the owned range
  int stored() const { return stored_end - stored_begin; }
};

// One rank's share of a layer: routed and shared experts are cut along their intermediate axis.
struct Shard {
  int tp = 1;
  int rank = 0;
  AxisRange routed;
  AxisRange shared;
  int intermediate = 0;  // stored width of every expert index, slots included
  int slots = 0;         // ceil(stored shared width / intermediate); the last one is zero-padded
};

// Throws Refused where tp does not divide the intermediate or the shared width.
Shard make_shard(const LayerSpec&, int tp, int rank);
// The shard that is measured for a degree: of the rank that stores most (the lowest of several).
// All ranks wait for the slowest, and block-aligned fp8 cuts are not equal.
Shard measured_shard(const LayerSpec&, int tp);

}  // namespace fse
