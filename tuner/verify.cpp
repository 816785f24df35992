#include "tuner/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/op_reference.h"
#include "core/parallel.h"
#include "core/routing.h"

namespace fse {
namespace {

std::string element_text(const std::string& name, Eigen::Index row, Eigen::Index col, double got,
                         double want) {
  return fmt::format("{}[{},{}] is {:.6g}, expected {:.6g}", name, row, col, got, want);
}

// What a part of two matrices differs by; places count within the whole.
struct Difference {
  double error = 0, norm = 0, worst = 0;
  Eigen::Index worst_at = 0, defined = 0;
  Eigen::Index not_finite = -1;  // the first that is not, and should be
};

Difference difference_of(const double* got, const double* want, Eigen::Index first,
                         Eigen::Index last) {
  Difference d;
  for (Eigen::Index i = first; i < last; ++i) {
    const double w = want[i], g = got[i];
    if (!std::isfinite(w)) continue;  // the layer itself is undefined there
    if (!std::isfinite(g)) {
      d.not_finite = i;
      return d;
    }
    ++d.defined;
    d.norm += w * w;
    d.error += (g - w) * (g - w);
    if (std::fabs(g - w) > d.worst) d.worst = std::fabs(g - w), d.worst_at = i;
  }
  return d;
}

// By blocks, whose sums are added in their order: on as many threads as there are, always the same.
Difference difference_of(const Matrix& got, const Matrix& want) {
  constexpr Eigen::Index kBlock = 1 << 18;
  std::vector<Difference> blocks(static_cast<size_t>((want.size() + kBlock - 1) / kBlock));
  parallel_for(static_cast<int64_t>(blocks.size()), reference::threads(), [&](int64_t block) {
    const Eigen::Index first = block * kBlock, last = std::min(first + kBlock, want.size());
    blocks[static_cast<size_t>(block)] = difference_of(got.data(), want.data(), first, last);
  });
  Difference all;
  for (const Difference& d : blocks) {
    if (d.not_finite >= 0) return d;
    all.error += d.error;
    all.norm += d.norm;
    all.defined += d.defined;
    if (d.worst > all.worst) all.worst = d.worst, all.worst_at = d.worst_at;
  }
  return all;
}

}  // namespace

Accuracy compare(const Matrix& got, const Matrix& want, double bound, const std::string& name,
                 double terms) {
  Accuracy accuracy{.bound = bound};
  if (got.rows() != want.rows() || got.cols() != want.cols()) {
    accuracy.first_bad = fmt::format("{} is [{}, {}], expected [{}, {}]", name, got.rows(),
                                     got.cols(), want.rows(), want.cols());
    return accuracy;
  }
  const Difference d = difference_of(got, want);
  const auto element = [&](Eigen::Index at) {
    return element_text(name, at / want.cols(), at % want.cols(), got.data()[at], want.data()[at]);
  };
  if (d.not_finite >= 0) {
    accuracy.rel_frobenius = accuracy.worst = INFINITY;
    accuracy.first_bad = element(d.not_finite);
    return accuracy;
  }
  if (d.worst == 0) return accuracy;
  // r^2 / 3 + B^2 / 6, see core/op.cpp
  const double norm = std::max(d.norm, (2 * d.norm + terms * terms) / 3);
  accuracy.rel_frobenius = norm > 0 ? std::sqrt(d.error / norm) : INFINITY;
  accuracy.worst = norm > 0 ? d.worst / std::sqrt(norm / static_cast<double>(d.defined)) : INFINITY;
  if (accuracy.rel_frobenius > bound || accuracy.worst > 16 * bound)
    accuracy.first_bad = fmt::format("{}; relative error {:.2e}, bound {:.2e}", element(d.worst_at),
                                     accuracy.rel_frobenius, bound);
  return accuracy;
}

void keep_worse(Accuracy& worst, const Accuracy& next) {
  worst.rel_frobenius = std::max(worst.rel_frobenius, next.rel_frobenius);
  worst.bound = std::max(worst.bound, next.bound);
  worst.worst = std::max(worst.worst, next.worst);
  if (worst.first_bad.empty()) worst.first_bad = next.first_bad;
}

Matrix defined_part(const LayerPlan& plan, const Step& step, Buf id, const RefState& inputs,
                    Matrix values) {
  const int top_k = plan.layer.routing.top_k;
  const bool routed_only = step.op == Op::select || step.op == Op::renormalize;
  if (routed_only && values.cols() > top_k) values.rightCols(values.cols() - top_k).setZero();
  if (id == Buf::shared_h) {
    const Eigen::Index stored = plan.shard.shared.stored();
    values.rightCols(values.cols() - stored).setZero();
  }
  if (id == Buf::h) {
    const auto rows =
        static_cast<Eigen::Index>(inputs[Buf::expert_offsets](0, plan.expert_count()));
    values.bottomRows(values.rows() - rows).setZero();
  }
  if (id == Buf::y) {
    Matrix kept = Matrix::Zero(values.rows(), values.cols());
    for (double pair : inputs[Buf::sorted_pairs].reshaped())
      if (pair >= 0)
        kept.row(static_cast<Eigen::Index>(pair)) = values.row(static_cast<Eigen::Index>(pair));
    return kept;
  }
  return values;
}

namespace {

// Where defined_part() has nothing to leave out.
bool is_all_defined(const LayerPlan& plan, const Step& step, Buf id, const RefState& inputs) {
  if (id == Buf::h) return inputs[Buf::expert_offsets](0, plan.expert_count()) == plan.pairs();
  if (id == Buf::y) return inputs[Buf::sorted_pairs].minCoeff() >= 0;
  return id != Buf::shared_h && step.op != Op::select && step.op != Op::renormalize;
}

double gate_bound(const LayerPlan& plan) {
  for (const Step& step : staged_steps(plan))
    if (step.op == Op::gate_gemm) return op_def(step.op).tolerance(plan, step);
  throw std::logic_error("every layer has a gate");
}

bool is_selection(const Step& step) {
  return step.op == Op::select || step.op == Op::topk;
}

// Without slots appended yet, their columns are not the selection's to write.
Matrix routed_part(const LayerPlan& plan, const Matrix& ids) {
  return ids.leftCols(plan.layer.routing.top_k);
}

// Of a few logits, all their terms; 0 for what is not a few logits. A hostile batch may consist of
// one token many times: a few rows' logits are then few, however many tokens there are.
double terms_of(const LayerPlan& plan, const Step& step, const LayerWeights& weights,
                const RefState& inputs) {
  constexpr int64_t kFew = 64, kFewRows = 4;
  const int rows = step.row_end - step.row_begin;
  if (step.op != Op::gate_gemm) return 0;
  if (rows > kFewRows && int64_t{rows} * plan.tokens > kFew) return 0;
  const WeightMatrix router = router_matrix(weights, step.row_begin, step.row_end);
  const Matrix terms = inputs[Buf::x].cwiseAbs2() * router.cwiseAbs2().transpose();
  double sum = 0;
  for (const double logit : terms.reshaped())
    if (std::isfinite(logit)) sum += logit;
  return std::sqrt(sum);
}

}  // namespace

RefState reference_of(const LayerPlan& plan, const Step& step, const LayerWeights& weights,
                      const RefState& inputs) {
  RefState state = inputs;
  op_def(step.op).reference(plan, step, weights, state);
  return state;
}

namespace {

// Ids first; then `expected` is what these ids' weights should be.
void verify_selection(const LayerPlan& plan, const Step& step, const LayerWeights& weights,
                      const RefState& outputs, RefState& expected, Accuracy& accuracy) {
  const Matrix scores = step.op == Op::select
                            ? expected[Buf::scores]
                            : routing_scores(plan.layer.routing, expected[Buf::router_logits]);
  const Matrix& ids = outputs[Buf::topk_ids];
  // The logits are exact here: only the kernel's own rounding of scores may move a choice.
  const RoutingAgreement routing =
      compare_routing(plan, weights.selection_bias, scores,
                      step.op == Op::select ? routed_part(plan, ids) : ids, 0);
  accuracy.first_bad = routing.first_bad;
  reference::choose_from(plan, scores, ids, step.op == Op::topk, expected);
}

double largest_routed(const LayerSpec& layer, const Logits& logits) {
  double largest = 0;
  for (const double v : logits.values.leftCols(layer.routing.experts).reshaped())
    if (std::isfinite(v)) largest = std::max(largest, std::fabs(v));
  return largest;
}

Matrix sorted_rows(Matrix ids) {
  for (Eigen::Index t = 0; t < ids.rows(); ++t) std::sort(ids.row(t).begin(), ids.row(t).end());
  return ids;
}

// A layer in one launch routes by logits of its own: its ids are judged as a layer's are, its
// values on the experts that it chose.
Accuracy verify_whole(const LayerPlan& plan, const LayerWeights& weights, const RefState& inputs,
                      const RefState& outputs, const RefState& expected) {
  const Logits logits = logits_of(weights, inputs[Buf::x]);
  const Matrix scores = routing_scores(plan.layer.routing, logits.values);
  const Matrix& ids = outputs[Buf::topk_ids];
  Accuracy accuracy;
  accuracy.first_bad = compare_routing(plan, weights.selection_bias, scores, ids,
                                       gate_bound(plan) * largest_routed(plan.layer, logits))
                           .first_bad;
  accuracy.bound = accuracy.ok()
                       ? layer_tolerance(plan, gate_effect(plan.layer, logits, scores, ids))
                       : layer_tolerance(plan);
  if (!accuracy.ok()) return accuracy;
  const bool same = sorted_rows(routed_part(plan, ids)) ==
                    sorted_rows(routed_part(plan, expected[Buf::topk_ids]));
  RefState want = same ? expected : run_reference(plan, weights, inputs[Buf::x], &ids);
  reference::choose_from(plan, scores, ids, /*weigh=*/true, want);  // in the order it chose them
  for (Buf id : {Buf::topk_weights, Buf::out})
    keep_worse(accuracy, compare(outputs[id], want[id], accuracy.bound, to_name(id)));
  return accuracy;
}

}  // namespace

Accuracy verify_step(const LayerPlan& plan, const Step& step, const LayerWeights& weights,
                     const RefState& inputs, const RefState& outputs, const RefState& expected) {
  if (step.op == Op::layer) return verify_whole(plan, weights, inputs, outputs, expected);
  const double bound = op_def(step.op).tolerance(plan, step);
  Accuracy accuracy{.bound = bound};
  RefState on_chosen_ids;
  if (is_selection(step)) {
    on_chosen_ids = expected;
    verify_selection(plan, step, weights, outputs, on_chosen_ids, accuracy);
  }
  const RefState& want = is_selection(step) ? on_chosen_ids : expected;
  const double terms = terms_of(plan, step, weights, inputs);
  for (Buf id : step.writes) {
    const bool all = is_all_defined(plan, step, id, inputs);  // then it is not copied
    keep_worse(accuracy, all ? compare(outputs[id], want[id], bound, to_name(id), terms)
                             : compare(defined_part(plan, step, id, inputs, outputs[id]),
                                       defined_part(plan, step, id, inputs, want[id]), bound,
                                       to_name(id), terms));
  }
  return accuracy;
}

namespace {

LayerPlan plainest(const LayerPlan& plan) {
  const Variant variant{.gate = Gate::separate,
                        .topk = Topk::unfused,
                        .shared = plan.layer.has_shared() ? Shared::mlp : Shared::none,
                        .experts = Experts::staged,
                        .launch = Launch::stream};
  const DeviceInfo any{.name = "reference",
                       .kind = "reference",
                       .dtypes = {plan.layer.dtype},
                       .fp8_activations = true};
  return make_plan(plan.layer, plan.shard, variant, plan.tokens, any);
}

}  // namespace

LayerReference::LayerReference(const LayerPlan& plan, const LayerWeights& weights, Matrix x)
    : plan_(plainest(plan)), weights_(weights), x_(std::move(x)) {
  logits_ = logits_of(weights_, x_);
  scores_ = routing_scores(plan_.layer.routing, logits_.values);
}

double LayerReference::largest_logit() const {
  return largest_routed(plan_.layer, logits_);
}

const Matrix& LayerReference::out(const Matrix& routed_ids) {
  if (out_.size() > 0 && chosen_ == routed_ids) return out_;
  chosen_ = routed_ids;
  out_ = on(chosen_)[Buf::out];
  return out_;
}

RefState LayerReference::on(const Matrix& routed_ids) const {
  return run_reference(plan_, weights_, x_, &routed_ids);
}

LayerCheck verify_layer_run(Session& session, const LayerPlan& plan,
                            std::span<const Choice> choices, const float* bias,
                            LayerReference& reference, std::span<const float> x, int set) {
  session.enter(Stage::layer_verify);
  session.set_input(x);
  session.poison_buffers();
  session.run(choices, set);
  const Matrix ids = session.read(Buf::topk_ids);
  // An error of the gate's bound in a logit as large as the largest.
  const double logit_error = gate_bound(plan) * reference.largest_logit();
  LayerCheck result;
  result.routing = compare_routing(plan, bias, reference.scores(), ids, logit_error);
  result.output.bound = layer_tolerance(plan);
  if (!result.routing.ok()) return result;
  result.output.bound =
      layer_tolerance(plan, gate_effect(plan.layer, reference.logits(), reference.scores(), ids));
  result.output = compare(session.read(Buf::out), reference.out(routed_part(plan, ids)),
                          result.output.bound, "out");
  return result;
}

}  // namespace fse
