#pragma once
#include <optional>
#include <span>

#include "core/kernel_cost.h"

namespace fse {

// What a library's table of tuned kernels says of one shape and token count. It was tuned with
// uniform routing; where the shape counts slots among its experts, with slots routed like them.
struct TunedRow {
  int hidden = 0, intermediate = 0, experts = 0, top_k = 0, tokens = 0;
  double us = 0;
  GroupedTile tile;  // of the kernel it chose
};

// The experts' kernels as the table runs them: between its token counts linear in both logarithms,
// and scaled by what the model says that this routing and an always-on slot change with the row's
// tile. Nothing where the table has no row of this shape, or none at or above `tokens`.
std::optional<double> tuned_us(std::span<const TunedRow>, const LayerSpec&, const Shard&,
                               const DeviceModel&, const RoutingPrior&, int slots, int tokens);

}  // namespace fse
