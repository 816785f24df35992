#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/routing.h"

// Logits rows that a routing kernel may meet but its author may not expect, with the reference's
// answer to each.
namespace fse::test {

inline constexpr double kInf = std::numeric_limits<double>::infinity();
inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Distinct logits in -8..8, shuffled (997 is coprime to every expert count in use); steps are
// powers of two, so that they are exact in f32.
inline double spread(int experts, int e, int shift) {
  const double step = 16.0 / std::bit_ceil(static_cast<unsigned>(experts));
  return ((e * 997 + shift) % experts - experts / 2) * step;
}

// One row from a function of the expert.
template <class Value>
void append_row(Matrix& rows, int experts, const Value& value) {
  rows.conservativeResize(rows.rows() + 1, experts);
  for (int e = 0; e < experts; ++e) rows(rows.rows() - 1, e) = value(e);
}

// `winners`, best first, well apart; everything else equal.
inline void append_winners(Matrix& rows, int experts, const std::vector<int>& winners) {
  append_row(rows, experts, [](int) { return -3.0; });
  for (size_t j = 0; j < winners.size(); ++j)
    rows(rows.rows() - 1, winners[j]) = 4 - 0.25 * static_cast<double>(j);
}

// The ends of the expert axis, and both sides of where a wave, a block or a byte could end.
inline std::vector<int> edges(int experts, int top_k) {
  std::vector<int> ids;
  for (int e : {experts - 1, 0, 256, 255, 512, 511, 768, 767, 257, 64, 63, 32, 31, 128, 127, 513})
    if (e < experts && static_cast<int>(ids.size()) < top_k &&
        std::find(ids.begin(), ids.end(), e) == ids.end())
      ids.push_back(e);
  return ids;
}

inline void append_not_finite(Matrix& rows, int experts, int top_k) {
  const double values[] = {kNaN, kInf, -kInf};
  for (double v : values) {
    append_row(rows, experts, [&](int) { return v; });
    append_row(rows, experts, [&](int e) { return e % 3 == 1 ? v : spread(experts, e, 5); });
    append_row(rows, experts, [&](int e) { return e == experts - 1 ? v : spread(experts, e, 2); });
    // Fewer finite logits than choices.
    append_row(rows, experts, [&](int e) { return e % experts < top_k - 1 ? 0.25 * e : v; });
  }
  append_row(rows, experts,
             [&](int e) { return e % 4 == 3 ? spread(experts, e, 9) : values[e % 4]; });
  append_row(rows, experts, [&](int e) { return e == experts - 1 ? 1.5 : kNaN; });
  constexpr double largest = std::numeric_limits<float>::max();
  append_row(rows, experts, [&](int e) { return e == experts / 2 ? largest : -largest; });
}

inline Matrix hostile_logits(int experts, int top_k) {
  Matrix rows(0, experts);
  append_row(rows, experts, [&](int e) { return spread(experts, e, 0); });
  append_row(rows, experts, [&](int e) { return spread(experts, e, experts / 3); });
  for (double v : {0.0, -80.0, -90.0, -110.0}) append_row(rows, experts, [&](int) { return v; });
  append_row(rows, experts, [](int e) { return e % 2 ? 0.0 : -0.0; });
  append_row(rows, experts, [&](int e) { return 8 * spread(experts, e, 1); });  // scores underflow
  append_not_finite(rows, experts, top_k);
  append_winners(rows, experts, edges(experts, top_k));
  std::vector<int> last;  // in reverse, so that an order by id would show
  for (int j = 0; j < top_k; ++j) last.push_back(experts - 1 - j);
  append_winners(rows, experts, last);
  // A tie at the boundary: one place is left for half of the experts.
  last.pop_back();
  append_winners(rows, experts, last);
  auto tied = rows.row(rows.rows() - 1);
  for (int e = 0; e < experts; ++e)
    if (tied(e) == -3 && e % 2) tied(e) = -1;
  return rows;
}

// Rows, the layer's routing, and the reference's answer.
struct RoutedRows {
  RoutingSpec routing;
  std::vector<float> bias;  // empty: none
  Matrix logits, scores, keys, ids;
  std::vector<std::vector<bool>> allowed;  // [row][expert]: in a kept group
  std::vector<bool> groups_clear, clear;   // [row]: f32 rounding cannot change groups, ids

  double bias_of(int e) const { return bias.empty() ? 0 : double{bias[static_cast<size_t>(e)]}; }
  // How far f32 may be off: exp's 64 units of the score, one rounding of the key, and what of a
  // score f32 cannot hold at all.
  double error(Eigen::Index t, int e) const {
    if (std::isnan(scores(t, e))) return 0;
    return 64 * 0x1p-24 * scores(t, e) + 0x1p-22 * std::fabs(keys(t, e)) + 1e-37;
  }
  // Equal by equal inputs: in any arithmetic.
  bool tied(Eigen::Index t, int a, int b) const {
    if (std::isnan(scores(t, a)) || std::isnan(scores(t, b)))
      return std::isnan(scores(t, a)) && std::isnan(scores(t, b));
    return scores(t, a) == scores(t, b) && bias_of(a) == bias_of(b);
  }
  bool apart(Eigen::Index t, int first, int second) const {
    return tied(t, first, second) ||
           keys(t, first) - keys(t, second) > error(t, first) + error(t, second);
  }
};

// The experts whose keys make a group's score, best first.
inline std::vector<int> leaders(const RoutedRows& r, Eigen::Index t, int group) {
  const int width = r.routing.experts / r.routing.groups;
  const bool two = r.routing.group_score == GroupScore::sum_of_top2 && width > 1;
  std::vector<int> ids;
  for (int e = group * width; e < (group + 1) * width; ++e) ids.push_back(e);
  std::stable_sort(ids.begin(), ids.end(),
                   [&](int a, int b) { return r.keys(t, a) > r.keys(t, b); });
  ids.resize(two ? 2 : 1);
  return ids;
}

inline bool groups_apart(const RoutedRows& r, Eigen::Index t, int kept, int dropped) {
  const std::vector<int> a = leaders(r, t, kept), b = leaders(r, t, dropped);
  double gap = 0, error = 0;
  bool tied = true;
  for (size_t i = 0; i < a.size(); ++i) {
    tied = tied && r.tied(t, a[i], b[i]);
    gap += r.keys(t, a[i]) - r.keys(t, b[i]);
    error += 2 * (r.error(t, a[i]) + r.error(t, b[i]));
  }
  const auto lowest = [&](const std::vector<int>& of) { return r.keys(t, of.back()) == -kInf; };
  return tied || (lowest(a) && lowest(b)) || gap > error;
}

inline bool groups_clear(const RoutedRows& r, Eigen::Index t, const std::vector<bool>& allowed) {
  const int width = r.routing.experts / r.routing.groups;
  const auto kept = [&](int g) { return allowed[static_cast<size_t>(g * width)]; };
  for (int a = 0; a < r.routing.groups; ++a)
    for (int b = 0; b < r.routing.groups; ++b)
      if (kept(a) && !kept(b) && !groups_apart(r, t, a, b)) return false;
  return true;
}

inline bool choice_clear(const RoutedRows& r, Eigen::Index t, const std::vector<int>& ids) {
  for (size_t j = 0; j + 1 < ids.size(); ++j)
    if (!r.apart(t, ids[j], ids[j + 1])) return false;
  const std::vector<bool>& allowed = r.allowed[static_cast<size_t>(t)];
  for (int e = 0; e < r.routing.experts; ++e) {
    if (!allowed[static_cast<size_t>(e)] || std::find(ids.begin(), ids.end(), e) != ids.end())
      continue;
    if (!r.apart(t, ids.back(), e)) return false;
  }
  return true;
}

inline RoutedRows route_rows(const RoutingSpec& routing, const Matrix& logits) {
  RoutedRows r{.routing = routing, .bias = {}, .logits = logits};
  for (int e = 0; routing.selection_bias && e < routing.experts; ++e)
    r.bias.push_back(static_cast<float>(e * 5 % 7 - 3) / 32);
  r.scores = routing_scores(routing, logits);
  r.keys = selection_keys(routing, r.scores, r.bias.empty() ? nullptr : r.bias.data());
  r.ids.resize(logits.rows(), routing.top_k);
  for (Eigen::Index t = 0; t < logits.rows(); ++t) {
    r.allowed.push_back(selectable(routing, r.keys.row(t).data()));
    const std::vector<int> ids = select_experts(routing, r.keys.row(t).data());
    for (int j = 0; j < routing.top_k; ++j) r.ids(t, j) = ids[static_cast<size_t>(j)];
    r.groups_clear.push_back(groups_clear(r, t, r.allowed.back()));
    r.clear.push_back(r.groups_clear.back() && choice_clear(r, t, ids));
  }
  return r;
}

}  // namespace fse::test
