#include "kernels/catalog.h"

#include <algorithm>

#include "core/error.h"
#include "kernels/cpu/families.h"

namespace fse {
namespace {

std::vector<KernelDef> all_kernels() {
  std::vector<KernelDef> all;
  for (auto family : {cpu_routing_kernels, cpu_stream_kernels, cpu_block_kernels, cpu_sum_kernels})
    for (KernelDef& def : family()) all.push_back(std::move(def));
  return all;
}

// Calls use(tile) for every point of the axes' product, the last axis fastest.
template <class Use>
void for_each_point(const std::vector<Axis>& axes, Tile& tile, const Use& use) {
  const size_t depth = tile.axes.size();
  if (depth == axes.size()) return use(tile);
  for (int value : axes[depth].values) {
    tile.axes.emplace_back(axes[depth].name, value);
    for_each_point(axes, tile, use);
    tile.axes.pop_back();
  }
}

}  // namespace

std::span<const KernelDef> catalog() {
  static const std::vector<KernelDef> kAll = all_kernels();
  return kAll;
}

std::vector<const KernelDef*> kernels_for(Op op, const std::string& device_kind) {
  std::vector<const KernelDef*> rows;
  for (const KernelDef& def : catalog())
    if (def.op == op && def.device == device_kind) rows.push_back(&def);
  return rows;
}

std::vector<Tile> tiles(const KernelDef& def, const LayerPlan& plan, const Step& step,
                        const DeviceInfo& device) {
  std::vector<Tile> result{def.default_tile(plan, step, device)};
  Tile point;
  for_each_point(def.axes, point, [&](const Tile& tile) {
    if (tile == result.front() || !def.legal(tile).empty()) return;
    if (def.fits(tile, plan, step, device).empty()) result.push_back(tile);
  });
  return result;
}

std::vector<Choice> default_choices(const LayerPlan& plan, const DeviceInfo& device) {
  std::vector<Choice> choices;
  for (const Step& step : plan.steps) {
    const auto rows = kernels_for(step.op, device.kind);
    check(!rows.empty(), to_name(step.op) + " has a kernel on " + device.kind);
    choices.push_back({rows.front(), rows.front()->default_tile(plan, step, device)});
  }
  return choices;
}

}  // namespace fse
