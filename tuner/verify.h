#pragma once
#include "core/op.h"
#include "core/outcome.h"

namespace fse {

// Compares a result with its reference. Anything not finite where the reference is finite fails, at
// any position; so does a relative Frobenius error above `bound`, or one element further off than
// 16 * bound * rms(want) (about 5 sigma above the largest of 10^6 rounding errors).
// `name` heads the text of the first bad element.
Accuracy compare(const Matrix& got, const Matrix& want, double bound, const std::string& name);

// Routing is judged apart from values.
struct RoutingAgreement {
  int64_t rows = 0;       // rows with finite logits
  int64_t equal = 0;      // whose id sets equal the reference's
  int64_t near_ties = 0;  // that differ, but only where the margin is below the error bound
  std::string first_bad;  // a row that differs although its margin is clear, or a bad id
  bool ok() const { return first_bad.empty(); }
};
// `got_ids` [tokens, choices]: ids must be distinct and in range, the last `slots` columns must be
// exactly E..E+slots-1, and the routed set must be the reference's wherever the reference's margin
// (in logits) between chosen and rejected exceeds `logit_bound`.
RoutingAgreement compare_routing(const LayerPlan&, const LayerWeights&, const RefState& reference,
                                 const Matrix& got_ids, double logit_bound);

}  // namespace fse
