#include <fmt/format.h>

#include <algorithm>

#include "kernels/device/layer_tile.h"
#include "kernels/gpu/families.h"
#include "kernels/gpu/layer.h"

namespace fse {

namespace {

// Axes in the order of LayerTile's fields. Fewer values than the streaming kernels offer each: the
// stages share theirs, and what keeps the memory busy alone does so here.
const std::vector<Axis> kLayerAxes{{"dependent", {0, 1}},      {"owned", {0, 1, 2}},
                                   {"spread", {0, 1, 2}},      {"dense", {0, 1}},
                                   {"robin", {0, 1, 2, 4, 8}}, {"warps", {8, 16}},
                                   {"split", {2, 4, 8, 16}},   {"ring", {2, 3, 4}},
                                   {"rows", {4, 8}},           {"width", {8, 16, 32, 64}}};

gpu::LayerTile layer_tile(const Tile& t) {
  return {.dependent = t.at("dependent"),
          .owned = t.at("owned"),
          .spread = t.at("spread"),
          .dense = t.at("dense"),
          .robin = t.at("robin"),
          .warps = t.at("warps"),
          .split = t.at("split"),
          .ring = t.at("ring"),
          .rows = t.at("rows"),
          .width = t.at("width")};
}

std::string layer_legal(const Tile& t) {
  return gpu::why_not(layer_tile(t));
}
std::string layer_fits(const Tile& t, const LayerPlan& p, const Step& s, const DeviceInfo& d) {
  return gpu::why_not_here(layer_tile(t), gpu_shape(p), gpu_sizes(p, s), gpu_routing(p),
                           gpu_limits(d));
}
gpu::Launch layer_launch(const Tile& t, const LayerPlan& p, const Step& s, const DeviceInfo& d) {
  return gpu::launch_of(layer_tile(t), gpu_shape(p), gpu_sizes(p, s), gpu_routing(p),
                        gpu_limits(d));
}
std::string layer_instance(const Tile& t, const LayerPlan& p, const Step&) {
  return fmt::format("fse::gpu::layer<{}, {}>", gpu_tile_text("LayerTile", t),
                     to_text(gpu_shape(p)));
}

// gate_few.h multiplies whole batches of slices of all its waves.
int gate_depth(int warps, const LayerPlan& p) {
  const int slices = gpu::ceil_div(gpu::row_bytes(gpu::kGate, gpu_shape(p)), gpu::kSliceBytes);
  return warps * std::min(4, gpu::ceil_div(slices, warps));
}
WeightPass layer_pass(const Tile& tile, Op part, const LayerPlan& p) {
  const gpu::LayerTile t = layer_tile(tile);
  const bool few = part == Op::gate_gemm && t.owned == 1;
  const gpu::StreamTile s = part == Op::gate_gemm        ? gpu::gate_tile(t)
                            : part == Op::grouped_stage1 ? gpu::stage1_tile(t)
                                                         : gpu::stage2_tile(t);
  return {.tokens = s.width,
          .dense = s.dense != 0,
          .rows = s.rows,
          .columns = 0,
          .depth = few ? gate_depth(t.warps, p) : 1};
}

// Slices of a row in stage 2, shared by as many warps: the others have other units.
int stage2_split(const LayerPlan& p, int warps) {
  const int bytes = gpu::row_bytes(gpu::kStage2, gpu_shape(p));
  int split = 2;
  while (split < warps && split * gpu::kSliceBytes < bytes) split *= 2;
  return split;
}

// Few tokens are routed by every block, which saves a barrier, a single one by all its waves where
// they can; more than there are warps, spread. Up to 64 tokens a block owns rows of the output,
// where it has the LDS for their sums. Smaller blocks and rings where the device has less LDS.
Tile layer_default(const LayerPlan& p, const Step& s, const DeviceInfo& d) {
  const int64_t mean = 2 * p.pairs() / p.expert_count();
  const int64_t wanted = std::min<int64_t>(p.tokens, mean);
  const int width = wanted <= 8 ? 8 : wanted <= 16 ? 16 : 32;
  const bool fp8 = p.layer.dtype == DType::fp8_block128;
  const int owned = p.tokens <= gpu::kOwnedTokens ? 1 : p.tokens <= 64 ? 2 : 0;
  Tile tile;
  for (int own : {owned, 0})
    for (int warps : {d.wave == 64 ? 8 : 16, 8})  // 16 x 64 lanes have 128 registers each: spills
      for (int ring : {3, 2})
        for (int columns : {own == 1 ? 8 : width, 8})
          for (int spread : {own == 1 && p.tokens == 1 ? 2 : 0, 0}) {
            tile = {{{"dependent", d.dependent_launch ? 1 : 0},
                     {"owned", own},
                     {"spread", p.tokens > warps ? 1 : spread},
                     {"dense", own == 1 ? 1 : 0},
                     {"robin", own == 2 && fp8 ? 0 : 1},
                     {"warps", warps},
                     {"split", own ? stage2_split(p, warps) : warps},
                     {"ring", ring},
                     {"rows", 8},
                     {"width", columns}}};
            if (layer_legal(tile).empty() && layer_fits(tile, p, s, d).empty()) return tile;
          }
  return tile;
}

}  // namespace

std::vector<KernelDef> gpu_layer_kernels() {
  return {{.name = "hip.layer",
           .op = Op::layer,
           .device = "hip",
           .axes = kLayerAxes,
           .legal = layer_legal,
           .fits = layer_fits,
           .default_tile = layer_default,
           .header = "layer.h",
           .instance = layer_instance,
           .launch = layer_launch,
           .pass = layer_pass,
           .cooperative = true}};
}

}  // namespace fse
