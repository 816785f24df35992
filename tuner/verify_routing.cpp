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

// The groups whose experts a kernel may have chosen from, given what it chose: those that are kept
// beyond rounding, and of those that are kept or rejected within rounding, the ones it used. Empty
// where it used a clearly rejected group, or too many.
std::vector<bool> groups_chosen(const Row& row, const std::set<int>& got) {
  const int groups = row.routing.groups, width = row.routing.experts / groups;
  const std::vector<bool> allowed = selectable(row.routing, row.keys);
  std::vector<double> keys;
  double lowest_kept = INFINITY, highest_rejected = -INFINITY;
  for (int g = 0; g < groups; ++g) {
    keys.push_back(group_score(row.routing, row.keys, g));
    if (allowed[static_cast<size_t>(g * width)])
      lowest_kept = std::min(lowest_kept, keys.back());
    else
      highest_rejected = std::max(highest_rejected, keys.back());
  }
  const double margin = 4 * row.largest_error();  // two keys of two experts each
  std::vector<bool> chosen(keys.size());
  int count = 0;
  for (int g = 0; g < groups; ++g) {
    const bool kept = allowed[static_cast<size_t>(g * width)];
    const double key = keys[static_cast<size_t>(g)];
    const bool clear = kept ? key - highest_rejected > margin : lowest_kept - key > margin;
    const bool used = std::any_of(got.begin(), got.end(), [&](int e) { return e / width == g; });
    if (used && !kept && clear) return {};
    chosen[static_cast<size_t>(g)] = used || (kept && clear);
    count += chosen[static_cast<size_t>(g)];
  }
  if (count > row.routing.groups_kept) return {};
  return chosen;
}

// Whether no expert of the chosen groups that was left out beats a chosen one by more than
// rounding.
bool explained_by_rounding(const Row& row, const std::set<int>& got) {
  const std::vector<bool> chosen = groups_chosen(row, got);
  if (chosen.empty()) return false;
  const int width = row.routing.experts / row.routing.groups;
  for (int left_out = 0; left_out < row.routing.experts; ++left_out) {
    if (!chosen[static_cast<size_t>(left_out / width)] || got.count(left_out)) continue;
    for (int e : got) {
      const double gap = row.keys[left_out] - row.keys[e];
      const bool both_last = row.keys[left_out] == row.keys[e];  // also -inf and -inf
      if (!both_last && !(gap <= row.error(left_out) + row.error(e))) return false;
      // Exactly equal keys are no rounding matter: the lower id goes first.
      if (both_last && std::isinf(row.keys[e]) && left_out < e) return false;
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
    if (explained_by_rounding(row, got))
      ++result.near_ties;
    else if (result.first_bad.empty())
      result.first_bad = fmt::format("token {} is routed to other experts than the reference", t);
  }
  return result;
}

}  // namespace fse
