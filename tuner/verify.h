#pragma once
#include "core/op.h"
#include "core/outcome.h"
#include "kernels/backend.h"

namespace fse {

// Compares a result with its reference. Anything not finite where the reference is finite fails, at
// any position; so does a relative Frobenius error above `bound`, or one element further off than
// 16 * bound * rms(want) (about 5 sigma above the largest of 10^6 rounding errors).
// `name` heads the text of the first bad element. `terms`: the root of the sum of the squares of
// every term that was added up in any element, where known; errors are of that size, and a few
// results may all be small where their terms are not.
Accuracy compare(const Matrix& got, const Matrix& want, double bound, const std::string& name,
                 double terms = 0);

// The larger errors of both, and the first reason.
void keep_worse(Accuracy& worst, const Accuracy& next);

// Routing is judged apart from values.
struct RoutingAgreement {
  int64_t rows = 0;
  int64_t equal = 0;      // rows whose id sets equal the reference's
  int64_t near_ties = 0;  // rows that differ, but only where the margin is within the error bound
  std::string first_bad;  // a row that differs although its margin is clear, or a bad id
  bool ok() const { return first_bad.empty(); }
};

// `got_ids` [tokens, top_k or choices]: ids must be distinct and in range, slot columns, where
// given, exactly E..E+slots-1, and the routed set must be the reference's wherever the reference's
// margin between chosen and rejected exceeds what an error of `logit_error` in the logits can move.
// `scores` are the reference's [tokens, experts], see routing.h.
RoutingAgreement compare_routing(const LayerPlan&, const float* selection_bias,
                                 const Matrix& scores, const Matrix& got_ids, double logit_error);

// A layer's logits, routed experts first, then the shared gate, and how large rounding finds them:
// root of (2 r^2 + B^2) / 3, see core/op.cpp.
struct Logits {
  Matrix values, sizes;  // [tokens, experts + gate_rows]
};
Logits logits_of(const LayerWeights&, const Matrix& x);

// layer_tolerance's gate_effect, of the token where it is largest: what a relative error of 1 in
// every logit, of random sign, does to the weights of `ids` [tokens, >= top_k], first order.
double gate_effect(const LayerSpec&, const Logits&, const Matrix& scores, const Matrix& ids);

// What of a step's output is defined: unrouted choice columns before slots are appended, rows of
// empty pairs and the padding of the last slot are not. Undefined elements become 0.
Matrix defined_part(const LayerPlan&, const Step&, Buf, const RefState&, Matrix values);

// What the step's reference makes of these inputs. It is the same for every tile: make it once.
RefState reference_of(const LayerPlan&, const Step&, const LayerWeights&, const RefState& inputs);

// One step's kernel against its reference, both from the same inputs: `inputs` holds what the step
// read, as the device had it; `outputs` what it wrote; `expected` is reference_of(inputs).
Accuracy verify_step(const LayerPlan&, const Step&, const LayerWeights&, const RefState& inputs,
                     const RefState& outputs, const RefState& expected);

struct LayerCheck {
  Accuracy output;
  RoutingAgreement routing;
  bool ok() const { return output.ok() && routing.ok(); }
  std::string reason() const { return output.ok() ? routing.first_bad : output.first_bad; }
};

// The float64 answers for one input of one layer. Every variant has the same, so what it computes
// is kept for as long as the ids that a kernel chose do not change.
class LayerReference {
 public:
  LayerReference(const LayerPlan&, const LayerWeights&, Matrix x);
  const Matrix& scores() const { return scores_; }  // of the reference's own logits
  const Logits& logits() const { return logits_; }
  double largest_logit() const;                 // of the routed experts
  const Matrix& out(const Matrix& routed_ids);  // [tokens, hidden], on these ids
  RefState on(const Matrix& routed_ids) const;  // every buffer of the plainest variant

 private:
  LayerPlan plan_;  // the plainest variant of the layer
  LayerWeights weights_;
  Matrix x_, scores_, chosen_, out_;
  Logits logits_;
};

// The whole layer: poisoned buffers, one run on a weight set, the reference's own, routing and
// output compared.
LayerCheck verify_layer_run(Session&, const LayerPlan&, std::span<const Choice>, const float* bias,
                            LayerReference&, std::span<const float> x, int set = 0);

}  // namespace fse
