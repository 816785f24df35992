#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/routing.h"
#include "tuner/verify.h"

namespace fse {
namespace {

// Why a row's ids are not ids at all; empty when they are distinct, in range, slots in place.
std::string malformed(const LayerPlan& plan, const Matrix& ids, Eigen::Index t, bool with_slots) {
  const RoutingSpec& routing = plan.layer.routing;
  std::set<double> seen;
  for (int j = 0; j < routing.top_k; ++j) {
    const double id = ids(t, j);
    if (!(id >= 0 && id < routing.experts) || id != std::floor(id))
      return fmt::format("topk_ids[{},{}] is {}, expected 0 to {}", t, j, id, routing.experts - 1);
    if (!seen.insert(id).second)
      return fmt::format("topk_ids[{},{}] is {} a second time in its row", t, j, id);
  }
  for (int s = 0; with_slots && s < plan.shard.slots; ++s)
    if (ids(t, routing.top_k + s) != routing.experts + s)
      return fmt::format("topk_ids[{},{}] is {}, expected the shared slot {}", t, routing.top_k + s,
                         ids(t, routing.top_k + s), routing.experts + s);
  return {};
}

// How far a key may be off: the score's slope times the logits' error (softmax: once in the
// numerator, once in the sum), f32 rounding of score, bias and their sum, and exp's underflow.
double key_error(double score, double key, double logit_error) {
  constexpr double kUnit = 0x1p-24;
  const double s = std::isnan(score) ? 0 : score;
  return 2 * s * logit_error + 64 * kUnit * s +
         4 * kUnit * std::fabs(std::isfinite(key) ? key : 0) + 1e-37;
}

struct Row {
  const RoutingSpec& routing;
  const double* scores;
  const double* keys;
  double logit_error;
  double error(int e) const { return key_error(scores[e], keys[e], logit_error); }
  double largest_error() const {
    double largest = 0;
    for (int e = 0; e < routing.experts; ++e) largest = std::max(largest, error(e));
    return largest;
  }
};

double group_key(const Row& row, int group) {
  const int width = row.routing.experts / row.routing.groups;
  std::vector<double> keys(row.keys + group * width, row.keys + (group + 1) * width);
  std::sort(keys.begin(), keys.end(), std::greater<>());
  const bool two = row.routing.group_score == GroupScore::sum_of_top2 && width > 1;
  return two ? keys[0] + keys[1] : keys[0];
}

// Whether the kept and the rejected groups lie so close that rounding may exchange two of them.
bool groups_near_tie(const Row& row, const std::vector<bool>& allowed) {
  const int width = row.routing.experts / row.routing.groups;
  double lowest_kept = INFINITY, highest_rejected = -INFINITY;
  for (int g = 0; g < row.routing.groups; ++g) {
    const double key = group_key(row, g);
    if (allowed[static_cast<size_t>(g * width)])
      lowest_kept = std::min(lowest_kept, key);
    else
      highest_rejected = std::max(highest_rejected, key);
  }
  return lowest_kept - highest_rejected <= 4 * row.largest_error();
}

// Got differs from want: is every exchange between two keys that rounding could have swapped?
bool explained_by_rounding(const Row& row, const std::set<int>& want, const std::set<int>& got) {
  const std::vector<bool> allowed = selectable(row.routing, row.keys);
  if (row.routing.groups > row.routing.groups_kept && groups_near_tie(row, allowed)) return true;
  for (int missing : want) {
    if (got.count(missing)) continue;
    for (int intruder : got) {
      if (want.count(intruder)) continue;
      if (!allowed[static_cast<size_t>(intruder)]) return false;
      const double gap = row.keys[missing] - row.keys[intruder];
      if (!(gap <= row.error(missing) + row.error(intruder))) return false;
    }
  }
  return true;
}

}  // namespace

RoutingAgreement compare_routing(const LayerPlan& plan, const float* selection_bias,
                                 const Matrix& scores, const Matrix& got_ids, double logit_error) {
  const RoutingSpec& routing = plan.layer.routing;
  const Matrix keys = selection_keys(routing, scores, selection_bias);
  RoutingAgreement result;
  const bool with_slots = got_ids.cols() > routing.top_k;
  for (Eigen::Index t = 0; t < got_ids.rows(); ++t) {
    ++result.rows;
    if (std::string why = malformed(plan, got_ids, t, with_slots); !why.empty()) {
      if (result.first_bad.empty()) result.first_bad = why;
      continue;
    }
    std::set<int> want, got;
    for (int id : select_experts(routing, keys.row(t).data())) want.insert(id);
    for (int j = 0; j < routing.top_k; ++j) got.insert(static_cast<int>(got_ids(t, j)));
    if (want == got) {
      ++result.equal;
      continue;
    }
    const Row row{routing, scores.row(t).data(), keys.row(t).data(), logit_error};
    if (explained_by_rounding(row, want, got))
      ++result.near_ties;
    else if (result.first_bad.empty())
      result.first_bad = fmt::format("token {} is routed to other experts than the reference", t);
  }
  return result;
}

}  // namespace fse
