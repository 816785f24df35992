#include "kernels/gpu/families.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/gpu/dispatch_cost.h"
#include "kernels/gpu/layer.h"

namespace fse {

std::string gpu_tile_text(const char* type, const Tile& tile) {
  std::vector<int> values;
  for (const auto& [axis, value] : tile.axes) values.push_back(value);
  return fmt::format("fse::gpu::{}{{{}}}", type, fmt::join(values, ","));
}

namespace {

using gpu::Launch;

// Axes in the order of the structs' fields: name expressions list their values.
const std::vector<Axis> kTopkAxes{{"dependent", {0, 1}}, {"warps", {1, 2, 4, 8}}};
const std::vector<Axis> kDispatchAxes{
    {"dependent", {0, 1}}, {"experts", {0, 1, 2, 4, 8}}, {"warps", {1, 2, 4, 8, 16, 32}}};
const std::vector<Axis> kRowAxes{{"dependent", {0, 1}}, {"threads", {64, 128, 256, 512}}};

// ---- topk, score, select: a wave for each token

std::string topk_legal(const Tile& t) {
  return gpu::why_not(gpu_tile<gpu::TopkTile>(t));
}
std::string topk_fits(const Tile& t, const LayerPlan& p, const Step& s, const DeviceInfo& d) {
  return gpu::why_not_here(gpu_tile<gpu::TopkTile>(t), gpu_shape(p), gpu_sizes(p, s),
                           gpu_routing(p), gpu_limits(d));
}
Launch topk_launch(const Tile& t, const LayerPlan& p, const Step& s, const DeviceInfo& d) {
  return gpu::launch_of(gpu_tile<gpu::TopkTile>(t), gpu_shape(p), gpu_sizes(p, s), gpu_routing(p),
                        gpu_limits(d));
}
std::string topk_instance(const Tile& t, const LayerPlan& p, const Step& s) {
  return fmt::format("fse::gpu::{}<{}, {}>", to_name(s.op), gpu_tile_text("TopkTile", t),
                     to_text(gpu_shape(p)));
}
Tile topk_default(const LayerPlan&, const Step&, const DeviceInfo&) {
  return {{{"dependent", 0}, {"warps", 4}}};
}

// ---- dispatch

gpu::DispatchTile dispatch_tile(const Tile& t) {
  return {.dependent = t.at("dependent"), .experts = t.at("experts"), .warps = t.at("warps")};
}
std::string dispatch_legal(const Tile& t) {
  return gpu::why_not(dispatch_tile(t));
}
std::string dispatch_fits(const Tile& t, const LayerPlan& p, const Step& s, const DeviceInfo& d) {
  return gpu::why_not_here(dispatch_tile(t), gpu_sizes(p, s), gpu_limits(d));
}
Launch dispatch_launch(const Tile& t, const LayerPlan& p, const Step& s, const DeviceInfo& d) {
  return gpu::launch_of(dispatch_tile(t), gpu_sizes(p, s), gpu_limits(d));
}
double dispatch_us(const Tile& t, const LayerPlan& p, const Step& s, const DeviceInfo& d) {
  return predicted_dispatch_us(dispatch_tile(t), gpu_sizes(p, s), gpu_limits(d));
}
std::string dispatch_instance(const Tile& t, const LayerPlan&, const Step&) {
  return fmt::format("fse::gpu::dispatch<{}>", gpu_tile_text("DispatchTile", t));
}
// A lone block takes longer than a launch from about 2000 pairs on.
Tile dispatch_default(const LayerPlan& p, const Step&, const DeviceInfo&) {
  return {{{"dependent", 0}, {"experts", p.pairs() > 2048 ? 4 : 0}, {"warps", 8}}};
}

// ---- rows: renormalize, shared_activation, slot_append; combine, shared_add

bool per_token(Op op) {
  return op != Op::combine && op != Op::shared_add;
}
std::string row_legal(const Tile& t) {
  return gpu::why_not(gpu_tile<gpu::RowTile>(t));
}
std::string row_fits(const Tile& t, const LayerPlan&, const Step&, const DeviceInfo& d) {
  return gpu::why_not_here(gpu_tile<gpu::RowTile>(t), gpu_limits(d));
}
Launch row_launch(const Tile& t, const LayerPlan& p, const Step& s, const DeviceInfo& d) {
  const long long items = gpu::row_items(gpu_shape(p), gpu_sizes(p, s), per_token(s.op));
  return gpu::launch_of(gpu_tile<gpu::RowTile>(t), items, gpu_limits(d));
}
std::string row_instance(const Tile& t, const LayerPlan& p, const Step& s) {
  const std::string tile = gpu_tile_text("RowTile", t);
  if (per_token(s.op)) return fmt::format("fse::gpu::{}<{}>", to_name(s.op), tile);
  return fmt::format("fse::gpu::{}<{}, {}>", to_name(s.op), tile, to_text(gpu_shape(p)));
}
Tile row_default(const LayerPlan&, const Step&, const DeviceInfo&) {
  return {{{"dependent", 0}, {"threads", 256}}};
}

KernelDef topk_row(Op op) {
  return {.name = "hip." + to_name(op),
          .op = op,
          .device = "hip",
          .axes = kTopkAxes,
          .legal = topk_legal,
          .fits = topk_fits,
          .default_tile = topk_default,
          .header = "topk.h",
          .instance = topk_instance,
          .launch = topk_launch};
}
KernelDef dispatch_row() {
  return {.name = "hip.dispatch",
          .op = Op::dispatch,
          .device = "hip",
          .axes = kDispatchAxes,
          .legal = dispatch_legal,
          .fits = dispatch_fits,
          .default_tile = dispatch_default,
          .predicted_us = dispatch_us,
          .header = "dispatch.h",
          .instance = dispatch_instance,
          .launch = dispatch_launch};
}
KernelDef row_row(Op op) {
  return {.name = "hip." + to_name(op),
          .op = op,
          .device = "hip",
          .axes = kRowAxes,
          .legal = row_legal,
          .fits = row_fits,
          .default_tile = row_default,
          .header = "rows.h",
          .instance = row_instance,
          .launch = row_launch};
}

}  // namespace

std::vector<KernelDef> gpu_routing_kernels() {
  return {topk_row(Op::topk), topk_row(Op::score), topk_row(Op::select), dispatch_row()};
}

std::vector<KernelDef> gpu_row_kernels() {
  std::vector<KernelDef> rows;
  for (Op op :
       {Op::renormalize, Op::shared_activation, Op::slot_append, Op::combine, Op::shared_add})
    rows.push_back(row_row(op));
  return rows;
}

}  // namespace fse
