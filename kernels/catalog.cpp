#include "kernels/catalog.h"

#include <algorithm>

#include "core/error.h"
#include "kernels/cpu/families.h"
#include "kernels/gpu/families.h"
#include "kernels/gpu/library.h"

namespace fse {
namespace {

std::vector<KernelDef> all_kernels() {
  std::vector<KernelDef> all;
  for (auto family : {cpu_routing_kernels, cpu_stream_kernels, cpu_block_kernels, cpu_sum_kernels,
                      gpu_matrix_kernels, gpu_library_kernels, gpu_routing_kernels, gpu_row_kernels,
                      gpu_layer_kernels})
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

std::string to_text(const Choice& choice) {
  return choice.kernel ? choice_text(choice.kernel->name, choice.tile) : "";
}

std::span<const KernelDef> catalog() {
  static const std::vector<KernelDef> kAll = all_kernels();
  return kAll;
}

const KernelDef* find_kernel(std::string_view name) {
  for (const KernelDef& def : catalog())
    if (def.name == name) return &def;
  return nullptr;
}

std::vector<const KernelDef*> kernels_for(Op op, const std::string& device_kind) {
  const std::string kind = device_kind == "emu" ? "hip" : device_kind;  // the emulator runs a GPU's
  std::vector<const KernelDef*> rows;
  for (const KernelDef& def : catalog())
    if (def.op == op && def.device == kind) rows.push_back(&def);
  return rows;
}

std::vector<const KernelDef*> kernels_for(const LayerPlan& plan, const Step& step,
                                          const DeviceInfo& device) {
  auto rows = kernels_for(step.op, device.kind);
  std::stable_partition(rows.begin(), rows.end(), [&](const KernelDef* def) {
    return def->preferred != nullptr && def->preferred(plan, step);
  });
  return rows;
}

std::vector<Tile> tiles(const KernelDef& def, const LayerPlan& plan, const Step& step,
                        const DeviceInfo& device) {
  const auto runs = [&](const Tile& tile) {
    return def.legal(tile).empty() && def.fits(tile, plan, step, device).empty();
  };
  const Tile first = def.default_tile(plan, step, device);
  std::vector<Tile> result;
  if (runs(first)) result.push_back(first);  // a family may not take the shape at all
  Tile point;
  for_each_point(def.axes, point, [&](const Tile& tile) {
    if (!(tile == first) && runs(tile)) result.push_back(tile);
  });
  return result;
}

std::string missing_kernel(const LayerPlan& plan, const DeviceInfo& device) {
  for (const Step& step : plan.steps) {
    std::string why = "no kernel for " + to_name(step.op);
    for (const KernelDef* def : kernels_for(step.op, device.kind)) {
      if (is_library(def->name)) continue;  // takes no shape that the others do not
      const Tile tile = def->default_tile(plan, step, device);
      const std::string reason = def->fits(tile, plan, step, device);
      if (reason.empty()) why.clear();
      if (!why.empty()) why = def->name + ": " + reason;
    }
    if (!why.empty()) return why;
  }
  return {};
}

std::vector<Choice> default_choices(const LayerPlan& plan, const DeviceInfo& device) {
  std::vector<Choice> choices;
  for (const Step& step : plan.steps) {
    const auto rows = kernels_for(plan, step, device);
    const auto row = std::find_if(rows.begin(), rows.end(), [&](const KernelDef* def) {
      return def->fits(def->default_tile(plan, step, device), plan, step, device).empty();
    });
    check(row != rows.end(), to_name(step.op) + " has a kernel on " + device.kind);
    choices.push_back({*row, (*row)->default_tile(plan, step, device)});
  }
  return choices;
}

}  // namespace fse
