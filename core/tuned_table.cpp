#include "core/tuned_table.h"

#include <cmath>

namespace fse {
namespace {

bool has_shape(const TunedRow& row, const LayerSpec& layer, const Shard& shard, int slots) {
  return row.hidden == layer.hidden && row.intermediate == shard.intermediate &&
         row.experts == layer.routing.experts + slots && row.top_k == layer.routing.top_k + slots;
}

// What the row's kernel takes with the routing it was tuned with, by the model.
double as_tuned_us(const TunedRow& row, const LayerSpec& layer, const Shard& shard,
                   const DeviceModel& d, int tokens) {
  LayerSpec tuned = layer;
  tuned.routing.experts = row.experts;
  tuned.routing.top_k = row.top_k;
  return grouped_us(tuned, shard, d, {}, 0, tokens, row.tile);
}

}  // namespace

std::optional<double> tuned_us(std::span<const TunedRow> rows, const LayerSpec& layer,
                               const Shard& shard, const DeviceModel& d, const RoutingPrior& prior,
                               int slots, int tokens) {
  const TunedRow *below = nullptr, *above = nullptr;
  for (const TunedRow& row : rows) {
    if (!has_shape(row, layer, shard, slots)) continue;
    if (row.tokens <= tokens && (below == nullptr || row.tokens > below->tokens)) below = &row;
    if (row.tokens >= tokens && (above == nullptr || row.tokens < above->tokens)) above = &row;
  }
  if (above == nullptr) return std::nullopt;
  double us = above->us;
  if (below != nullptr && below->tokens < above->tokens) {
    const double share = std::log(double{1} * tokens / below->tokens) /
                         std::log(double{1} * above->tokens / below->tokens);
    us = below->us * std::pow(above->us / below->us, share);
  }
  return us * grouped_us(layer, shard, d, prior, slots, tokens, above->tile) /
         as_tuned_us(*above, layer, shard, d, tokens);
}

}  // namespace fse
