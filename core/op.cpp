#include "core/op.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/op_reference.h"
#include "core/routing.h"

namespace fse {

int64_t Load::pairs() const {
  return std::accumulate(rows_per_expert.begin(), rows_per_expert.end(), int64_t{0});
}
int64_t Load::active() const {
  return std::count_if(rows_per_expert.begin(), rows_per_expert.end(),
                       [](int64_t rows) { return rows > 0; });
}
int64_t Load::busiest() const {
  return rows_per_expert.empty()
             ? 0
             : *std::max_element(rows_per_expert.begin(), rows_per_expert.end());
}

Load load_of(const Matrix& topk_ids, int expert_count) {
  Load load;
  load.rows_per_expert.assign(static_cast<size_t>(expert_count), 0);
  for (double id : topk_ids.reshaped())
    if (id >= 0 && id < expert_count) ++load.rows_per_expert[static_cast<size_t>(id)];
  return load;
}

namespace {

// Kernels accumulate in f32, each in an order of its own. The partial sums of K terms of random
// sign walk from 0 to the result r: where B^2 is the sum of the squared terms, the j-th has a mean
// square of (j/K)^2 r^2 + j/K (1 - j/K) B^2, all together K (r^2 / 3 + B^2 / 6). Each is rounded by
// 0.42 u of its size, root mean square over the mantissas, u = 2^-24. Over many results r^2 is B^2
// in the mean: terms added one after the other, which of all orders has the longest partial sums,
// end off by 0.42 u sqrt(K / 2) = 0.3 u sqrt(K). The bound is 3.3 times that, and 4 u for what is
// rounded once. It is about random signs; the bound for all data, K u sum |terms|, is 0.64 K^1.5 u
// for such terms, 1300 times this one at K = 2048, and would pass most faults.
constexpr double kUnit = 0x1p-24;
double sum_bound(int64_t length) {
  return kUnit * (std::sqrt(static_cast<double>(length)) + 4);
}

// Matrix units of GPUs add 16 products to an accumulator and cut off what it cannot hold: up to 2 u
// of its size, always towards 0, 0.72 u in the mean. These errors do not cancel: of K / 16 partial
// sums that are half the result's size in the mean, 0.4 u K / 16.
double product_bound(const LayerPlan& p, int64_t length) {
  const Buffer* x = p.find(Buf::x);
  const bool matrix_units = x && x->element != Element::f32;
  return sum_bound(length) + (matrix_units ? kUnit * static_cast<double>(length) / 16 : 0);
}

// exp in f32 is a few units off and rounds its argument, by |x| units of the result; beyond |x| =
// 12 nothing is left of the result.
constexpr double kExpBound = 16 * kUnit;

// What storing a result adds: half a unit in the last place where it is 16 bit, nothing for f32,
// which the sums' own bound covers.
double store_bound(const LayerPlan& p, Buf id) {
  const Buffer* buffer = p.find(id);
  if (!buffer || buffer->element == Element::f32) return 0;
  return epsilon(buffer->element == Element::bf16 ? DType::bf16 : DType::f16) / 2;
}
// Activations rounded to e4m3 have a relative error between 2^-5 and 2^-4, evenly spread: 2^-4 /
// sqrt(3) / 1.4 = 0.026 rms, and a sum of products as much. Twice that for blocks of few values.
double quantize_bound(const LayerPlan& p) {
  return p.layer.activations == Activations::fp8 ? 0x1p-4 * 0.8 : 0;
}

double exact(const LayerPlan&, const Step&) {
  return 0;
}
double few_roundings(const LayerPlan&, const Step&) {
  return 4 * kUnit;
}
double gate_bound(const LayerPlan& p, const Step&) {
  return product_bound(p, p.layer.hidden);
}
double sigmoid_bound(const LayerPlan&, const Step&) {
  return kExpBound;
}
double score_bound(const LayerPlan& p, const Step&) {
  return kExpBound + sum_bound(p.layer.routing.experts);
}
double renormalize_bound(const LayerPlan& p, const Step&) {
  return sum_bound(p.layer.routing.top_k);
}
double topk_bound(const LayerPlan& p, const Step& s) {
  return score_bound(p, s) + renormalize_bound(p, s);
}
double stage1_bound(const LayerPlan& p, const Step& s) {
  return 2 * (product_bound(p, p.layer.hidden) + quantize_bound(p)) + kExpBound +
         store_bound(p, s.writes[0]);
}
double stage2_bound(const LayerPlan& p, const Step& s) {
  return product_bound(p, p.shard.intermediate) + quantize_bound(p) + store_bound(p, s.writes[0]);
}
double mlp_stage2_bound(const LayerPlan& p, const Step& s) {
  return product_bound(p, p.shard.shared.stored()) + quantize_bound(p) +
         store_bound(p, s.writes[0]);
}
double combine_bound(const LayerPlan& p, const Step& s) {
  return sum_bound(p.choices()) + store_bound(p, s.writes[0]);
}
double shared_add_bound(const LayerPlan& p, const Step& s) {
  return 4 * kUnit + store_bound(p, s.writes[0]);
}

int64_t buffer_elements(const LayerPlan& plan, const Step& step) {
  int64_t elements = 0;
  for (const auto* list : {&step.reads, &step.writes})
    for (Buf id : *list) elements += plan.find(id)->rows * plan.find(id)->cols;
  return elements;
}

double buffer_traffic(const LayerPlan& plan, const Step& step) {
  double bytes = 0;
  for (const auto* list : {&step.reads, &step.writes})
    for (Buf id : *list) bytes += static_cast<double>(plan.find(id)->bytes());
  return bytes;
}

double plain_bytes(const LayerPlan& p, const Step& s, const Load&) {
  return buffer_traffic(p, s);
}

double gate_bytes(const LayerPlan& p, const Step& s, const Load&) {
  const int64_t row = p.layer.hidden * element_bytes(router_dtype(p.layer));
  return static_cast<double>((s.row_end - s.row_begin) * row) + buffer_traffic(p, s);
}

// gate and up are two thirds of an expert's bytes, down one third.
double stage1_bytes(const LayerPlan& p, const Step& s, const Load& load) {
  const auto weights = static_cast<double>(load.active() * expert_bytes(p.layer, p.shard));
  return weights * 2 / 3 + buffer_traffic(p, s);
}
double stage2_bytes(const LayerPlan& p, const Step& s, const Load& load) {
  const auto weights = static_cast<double>(load.active() * expert_bytes(p.layer, p.shard));
  return weights / 3 + buffer_traffic(p, s);
}

// The dense MLP skips the zero padding of the last slot.
double shared_expert_bytes(const LayerPlan& p) {
  return static_cast<double>(expert_bytes(p.layer, p.shard)) * p.shard.shared.stored() /
         p.shard.intermediate;
}
double mlp_stage1_bytes(const LayerPlan& p, const Step& s, const Load&) {
  return shared_expert_bytes(p) * 2 / 3 + buffer_traffic(p, s);
}
double mlp_stage2_bytes(const LayerPlan& p, const Step& s, const Load&) {
  return shared_expert_bytes(p) / 3 + buffer_traffic(p, s);
}

double gate_flops(const LayerPlan& p, const Step& s, const Load&) {
  return 2.0 * p.tokens * (s.row_end - s.row_begin) * p.layer.hidden;
}
double per_logit_flops(const LayerPlan& p, const Step&, const Load&) {
  return 4.0 * p.tokens * p.layer.routing.experts;
}
double per_choice_flops(const LayerPlan& p, const Step&, const Load&) {
  return 2.0 * static_cast<double>(p.pairs());
}
double no_flops(const LayerPlan&, const Step&, const Load&) {
  return 0;
}
double stage1_flops(const LayerPlan& p, const Step&, const Load& load) {
  return 4.0 * static_cast<double>(load.pairs()) * p.shard.intermediate * p.layer.hidden;
}
double stage2_flops(const LayerPlan& p, const Step&, const Load& load) {
  return 2.0 * static_cast<double>(load.pairs()) * p.shard.intermediate * p.layer.hidden;
}
double combine_flops(const LayerPlan& p, const Step&, const Load& load) {
  return static_cast<double>(load.pairs()) * p.layer.hidden;
}
double mlp_stage1_flops(const LayerPlan& p, const Step&, const Load&) {
  return 4.0 * p.tokens * p.shard.shared.stored() * p.layer.hidden;
}
double mlp_stage2_flops(const LayerPlan& p, const Step&, const Load&) {
  return 2.0 * p.tokens * p.shard.shared.stored() * p.layer.hidden;
}
double shared_add_flops(const LayerPlan& p, const Step&, const Load&) {
  return 1.0 * p.tokens * p.layer.hidden;
}

// The ops of one launch, one after the other.
void layer_reference(const LayerPlan& p, const Step&, const LayerWeights& weights,
                     RefState& state) {
  for (const Step& part : staged_steps(p)) op_def(part.op).reference(p, part, weights, state);
}
double layer_bound(const LayerPlan& p, const Step&) {
  return layer_tolerance(p);
}
double layer_flops(const LayerPlan& p, const Step&, const Load& load) {
  double flops = 0;
  for (const Step& part : staged_steps(p)) flops += op_def(part.op).flops(p, part, load);
  return flops;
}
// What passes from op to op can stay on the chip.
double layer_bytes(const LayerPlan& p, const Step& s, const Load& load) {
  return gate_bytes(p, s, load) +
         static_cast<double>(load.active() * expert_bytes(p.layer, p.shard));
}

constexpr OpDef kOps[] = {
    {Op::gate_gemm, reference::gate_gemm, gate_bound, gate_flops, gate_bytes},
    {Op::score, reference::score, score_bound, per_logit_flops, plain_bytes},
    {Op::select, reference::select, few_roundings, no_flops, plain_bytes},
    {Op::renormalize, reference::renormalize, renormalize_bound, per_choice_flops, plain_bytes},
    {Op::shared_activation, reference::shared_activation, sigmoid_bound, no_flops, plain_bytes},
    {Op::slot_append, reference::slot_append, few_roundings, no_flops, plain_bytes},
    {Op::topk, reference::topk, topk_bound, per_logit_flops, plain_bytes},
    {Op::dispatch, reference::dispatch, exact, no_flops, plain_bytes},
    {Op::grouped_stage1, reference::grouped_stage1, stage1_bound, stage1_flops, stage1_bytes},
    {Op::grouped_stage2, reference::grouped_stage2, stage2_bound, stage2_flops, stage2_bytes},
    {Op::combine, reference::combine, combine_bound, combine_flops, plain_bytes},
    {Op::mlp_stage1, reference::mlp_stage1, stage1_bound, mlp_stage1_flops, mlp_stage1_bytes},
    {Op::mlp_stage2, reference::mlp_stage2, mlp_stage2_bound, mlp_stage2_flops, mlp_stage2_bytes},
    {Op::shared_add, reference::shared_add, shared_add_bound, shared_add_flops, plain_bytes},
    {Op::layer, layer_reference, layer_bound, layer_flops, layer_bytes},
};

}  // namespace

const OpDef& op_def(Op op) {
  for (const OpDef& def : kOps)
    if (def.op == op) return def;
  throw std::logic_error("op " + to_name(op) + " is not declared");
}

Work step_work(const LayerPlan& plan, const Step& step, const Load& load) {
  const OpDef& def = op_def(step.op);
  return {def.bytes(plan, step, load), def.flops(plan, step, load)};
}

Work layer_work(const LayerPlan& plan, const Load& load) {
  const LayerSpec& layer = plan.layer;
  Load routed = load;  // the shared expert is counted apart, alike for slots and for the MLP
  routed.rows_per_expert.resize(static_cast<size_t>(layer.routing.experts));
  const auto expert = static_cast<double>(expert_bytes(layer, plan.shard));
  const double weights = 3.0 * plan.shard.intermediate * layer.hidden;  // per expert, gate up down
  const double rows = layer.routing.experts + layer.gate_rows();
  const double shared =
      plan.shard.intermediate == 0
          ? 0
          : static_cast<double>(plan.shard.shared.stored()) / plan.shard.intermediate;
  const auto element = static_cast<double>(element_bytes(router_dtype(layer)));
  return {.bytes = (static_cast<double>(routed.active()) + shared) * expert +
                   rows * layer.hidden * element + 8.0 * plan.tokens * layer.hidden,
          .flops = 2 * weights * (static_cast<double>(routed.pairs()) + shared * plan.tokens) +
                   2.0 * rows * layer.hidden * plan.tokens};
}

Matrix to_matrix(std::span<const float> values, int64_t rows, int64_t cols) {
  check(static_cast<int64_t>(values.size()) == rows * cols, "values fill the matrix");
  using Floats = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  return Eigen::Map<const Floats>(values.data(), rows, cols).cast<double>();
}

double floor_us(const Work& work, double gbs, double gflops) {
  return std::max(work.bytes / (gbs * 1e3), work.flops / (gflops * 1e3));
}

RefState run_reference(const LayerPlan& plan, const LayerWeights& weights, const Matrix& x,
                       const Matrix* chosen_ids) {
  check(x.rows() == plan.tokens && x.cols() == plan.layer.hidden, "x is [tokens, hidden]");
  RefState state;
  state[Buf::x] = x;
  for (const Step& step : staged_steps(plan)) {
    op_def(step.op).reference(plan, step, weights, state);
    const bool selects = step.op == Op::select || step.op == Op::topk;
    if (!selects || !chosen_ids) continue;
    const Matrix scores = routing_scores(plan.layer.routing, state[Buf::router_logits]);
    reference::choose_from(plan, scores, *chosen_ids, step.op == Op::topk, state);
  }
  return state;
}

// Errors of consecutive steps are independent, so their squares add.
double layer_tolerance(const LayerPlan& plan, double gate_effect) {
  double squares = 0;
  for (const Step& step : staged_steps(plan)) {
    const double effect = step.op == Op::gate_gemm ? gate_effect : 1;
    const double error = effect * op_def(step.op).tolerance(plan, step);
    squares += error * error;
  }
  return std::sqrt(squares);
}

int64_t reference_bytes(const LayerPlan& plan) {
  const int64_t elements_of_an_expert = int64_t{3} * plan.shard.intermediate * plan.layer.hidden;
  const int64_t router =
      int64_t{plan.layer.routing.experts + plan.layer.gate_rows()} * plan.layer.hidden;
  // Verifying one step keeps what it read, what it wrote, the expected values, and of two of these
  // the defined part: up to six float64 copies of the buffers of the largest step.
  int64_t largest = 0;
  for (const Step& step : staged_steps(plan))
    largest = std::max(largest, buffer_elements(plan, step));
  return 6 * 8 * largest + 8 * (reference::threads() * elements_of_an_expert + router);
}

}  // namespace fse
