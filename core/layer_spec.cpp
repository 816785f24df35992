#include "core/layer_spec.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"

namespace fse {

std::string canonical_text(const LayerSpec& s) {
  const RoutingSpec& r = s.routing;
  return fmt::format(
      "hidden={}\nintermediate={}\nexperts={}\ntop_k={}\nscore={}\nselection_bias={}\ngroups={}\n"
      "groups_kept={}\ngroup_score={}\nrenormalize={}\nscaling={}\nshared_count={}\n"
      "shared_width={}\nshared_weight={}\nshared_constant={}\ndtype={}\nactivations={}\n",
      s.hidden, s.intermediate, r.experts, r.top_k, to_name(r.score), r.selection_bias, r.groups,
      r.groups_kept, to_name(r.group_score), r.renormalize, r.scaling, s.shared.count,
      s.shared.shared_width, to_name(s.shared.weight), s.shared.constant, to_name(s.dtype),
      to_name(s.activations));
}

namespace {

void require(bool holds, const LayerSpec& s, const std::string& what) {
  if (!holds) fail_usage(fmt::format("{}: {}", s.model.empty() ? "layer" : s.model, what));
}

}  // namespace

void validate(const LayerSpec& s) {
  const RoutingSpec& r = s.routing;
  require(s.hidden > 0, s, fmt::format("hidden is {}, expected at least 1", s.hidden));
  require(s.intermediate > 0, s,
          fmt::format("intermediate is {}, expected at least 1", s.intermediate));
  require(r.experts > 0, s, fmt::format("experts is {}, expected at least 1", r.experts));
  require(r.top_k > 0 && r.top_k <= r.experts, s,
          fmt::format("top_k is {}, expected 1 to experts = {}", r.top_k, r.experts));
  require(r.groups > 0 && r.experts % r.groups == 0, s,
          fmt::format("groups is {}, expected a divisor of experts = {}", r.groups, r.experts));
  require(r.groups_kept > 0 && r.groups_kept <= r.groups, s,
          fmt::format("groups_kept is {}, expected 1 to groups = {}", r.groups_kept, r.groups));
  const int selectable = r.experts / r.groups * r.groups_kept;
  require(r.top_k <= selectable, s,
          fmt::format("top_k is {}, but the {} kept groups hold only {} experts", r.top_k,
                      r.groups_kept, selectable));
  require(s.shared.shared_width >= 0, s,
          fmt::format("shared_width is {}, expected 0 or more", s.shared.shared_width));
}

namespace {

constexpr int round_up(int value, int unit) {
  return (value + unit - 1) / unit * unit;
}

AxisRange cut(int width, int tp, int rank, DType dtype) {
  const int part = width / tp;
  AxisRange range{rank * part, (rank + 1) * part, rank * part, (rank + 1) * part};
  if (dtype != DType::fp8_block128) return range;
  range.stored_begin = range.begin / kScaleBlock * kScaleBlock;
  // The checkpoint's own last block may be ragged: it ends where the axis ends.
  range.stored_end = std::min(width, round_up(range.end, kScaleBlock));
  return range;
}

}  // namespace

Shard make_shard(const LayerSpec& s, int tp, int rank) {
  if (tp < 1) fail_usage(fmt::format("tp is {}, expected at least 1", tp));
  check(rank >= 0 && rank < tp, "a rank lies in [0, tp)");
  if (s.intermediate % tp != 0)
    throw Refused(fmt::format("tp={}: intermediate {} is not divisible", tp, s.intermediate));
  if (s.shared.shared_width % tp != 0)
    throw Refused(
        fmt::format("tp={}: shared_width {} is not divisible", tp, s.shared.shared_width));
  Shard shard;
  shard.tp = tp;
  shard.rank = rank;
  shard.routed = cut(s.intermediate, tp, rank, s.dtype);
  shard.intermediate = shard.routed.stored();
  if (!s.has_shared()) return shard;
  shard.shared = cut(s.shared.shared_width, tp, rank, s.dtype);
  // Slots of an fp8 layer must begin on the scale grid, so several of them need a whole number of
  // blocks each: every expert index is then stored that wide, zero-padded.
  if (s.dtype == DType::fp8_block128 && shard.shared.stored() > shard.intermediate)
    shard.intermediate = round_up(shard.intermediate, kScaleBlock);
  shard.slots = (shard.shared.stored() + shard.intermediate - 1) / shard.intermediate;
  return shard;
}

Shard measured_shard(const LayerSpec& s, int tp) {
  const auto stored = [](const Shard& shard) { return shard.intermediate + shard.shared.stored(); };
  Shard largest = make_shard(s, tp, 0);
  for (int rank = 1; rank < tp; ++rank) {
    const Shard shard = make_shard(s, tp, rank);
    if (stored(shard) > stored(largest)) largest = shard;
  }
  return largest;
}

}  // namespace fse
