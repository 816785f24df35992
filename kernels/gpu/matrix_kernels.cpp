#include "kernels/gpu/families.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "kernels/gpu/layer.h"
#include "kernels/gpu/stream_cost.h"

namespace fse {

namespace {

using gpu::Launch;

// Axes in the order of the struct's fields: name expressions list their values.
const std::vector<Axis> kStreamAxes{{"dependent", {0, 1}},       {"dense", {0, 1}},
                                    {"robin", {0, 1, 2, 4, 8}},  {"warps", {4, 8, 16}},
                                    {"split", {1, 2, 4, 8, 16}}, {"ring", {2, 3, 4, 6}},
                                    {"rows", {4, 8, 16}},        {"width", {8, 16, 32, 64}}};
const std::vector<Axis> kDenseAxes{{"dependent", {0, 1}},
                                   {"rows", {32, 64, 128}},
                                   {"columns", {32, 64, 128}},
                                   {"ring", {3, 4}},
                                   {"warps", {2, 4, 8}}};
const std::vector<Axis> kPlainAxes{{"dependent", {0, 1}}, {"warps", {4, 8, 16}}};

gpu::StreamTile stream_tile(const Tile& t) {
  return {.dependent = t.at("dependent"),
          .dense = t.at("dense"),
          .robin = t.at("robin"),
          .warps = t.at("warps"),
          .split = t.at("split"),
          .ring = t.at("ring"),
          .rows = t.at("rows"),
          .width = t.at("width")};
}

// The op as a template argument of stream and plain.
int op_number(Op op) {
  switch (op) {
    case Op::gate_gemm:
      return gpu::kGate;
    case Op::grouped_stage1:
      return gpu::kStage1;
    case Op::grouped_stage2:
      return gpu::kStage2;
    case Op::mlp_stage1:
      return gpu::kMlp1;
    case Op::mlp_stage2:
      return gpu::kMlp2;
    default:
      throw std::logic_error("op " + to_name(op) + " is no matrix product");
  }
}

// ---- stream: gate_gemm, grouped_stage1, grouped_stage2, mlp_stage1, mlp_stage2

std::string stream_legal(const Tile& t) {
  return gpu::why_not(stream_tile(t));
}
std::string stream_fits(const Tile& t, const LayerPlan& p, const Step& s, const DeviceInfo& d) {
  return gpu::why_not_here(op_number(s.op), stream_tile(t), gpu_shape(p), gpu_sizes(p, s),
                           gpu_limits(d));
}
Launch stream_launch(const Tile& t, const LayerPlan& p, const Step& s, const DeviceInfo& d) {
  return gpu::launch_of(op_number(s.op), stream_tile(t), gpu_shape(p), gpu_sizes(p, s),
                        gpu_limits(d));
}
std::string stream_instance(const Tile& t, const LayerPlan& p, const Step& s) {
  return fmt::format("fse::gpu::stream<{}, {}, {}>", gpu_tile_text("StreamTile", t),
                     to_text(gpu_shape(p)), op_number(s.op));
}

// Tokens that share a pass over an expert's weights: all of them in a dense product; in a grouped
// one twice the mean, since no expert's share is known before the routing is. The router's rows
// are few: narrow units give its tiles to all compute units. 64 columns of all 16 warps' sums do
// not fit into the registers.
int default_width(const LayerPlan& p, Op op) {
  const bool grouped = op == Op::grouped_stage1 || op == Op::grouped_stage2;
  const int64_t rows =
      grouped ? std::min<int64_t>(p.tokens, 2 * p.pairs() / p.expert_count()) : p.tokens;
  const int most = op == Op::gate_gemm ? 16 : 32;
  for (int width : {8, 16})
    if (rows <= width) return width;
  return most;
}

// Warps that share a tile's depth: all of a block, the finest work there is to spread over units.
// Stage 2 has short rows: no more warps than there are slices of one, and those of several units
// beside each other.
int default_split(const LayerPlan& p, Op op, int warps) {
  if (op != Op::grouped_stage2) return warps;
  const int slices = gpu::row_bytes(gpu::kStage2, gpu_shape(p)) / gpu::kSliceBytes;
  int split = 1;
  while (2 * split <= std::min({slices, warps, 4})) split *= 2;
  return split;
}

// 3 slices of 16 rows x 128 bytes for each of 16 warps keep 64 KB in flight per compute unit while
// one slice is multiplied, which is enough for the memory's full rate; fewer where that does not
// fit. Where an expert has many tiles' worth of tokens, several in turn keep them in registers.
Tile stream_default(const LayerPlan& p, const Step& s, const DeviceInfo& d) {
  const bool gate = s.op == Op::gate_gemm, many = p.tokens > 64;
  const int few = s.row_end - s.row_begin < 16 ? 4 : 8;
  const int rows = !gate ? 16 : many && few == 8 ? 16 : few;  // a gate has few
  const int width = default_width(p, s.op);
  Tile tile;
  // 16 waves of 64 lanes have 128 registers a lane, and spill.
  for (int warps : {d.wave == 64 ? 8 : 16, 8, 4})
    for (int ring : {3, 2}) {
      tile = {{{"dependent", 0},
               {"dense", 0},
               {"robin", !many  ? 1
                         : gate ? 4
                                : 8},
               {"warps", warps},
               {"split", default_split(p, s.op, warps)},
               {"ring", ring},
               {"rows", rows},
               {"width", width}}};
      if (stream_fits(tile, p, s, d).empty()) return tile;
    }
  return tile;
}

// ---- dense: gate_gemm, mlp_stage1, mlp_stage2 of many tokens

gpu::DenseTile dense_tile(const Tile& t) {
  return {.dependent = t.at("dependent"),
          .rows = t.at("rows"),
          .columns = t.at("columns"),
          .ring = t.at("ring"),
          .warps = t.at("warps")};
}
std::string dense_legal(const Tile& t) {
  return gpu::why_not(dense_tile(t));
}
std::string dense_fits(const Tile& t, const LayerPlan& p, const Step& s, const DeviceInfo& d) {
  return gpu::why_not_here(op_number(s.op), dense_tile(t), gpu_shape(p), gpu_sizes(p, s),
                           gpu_limits(d));
}
Launch dense_launch(const Tile& t, const LayerPlan& p, const Step& s, const DeviceInfo& d) {
  return gpu::launch_of(op_number(s.op), dense_tile(t), gpu_shape(p), gpu_sizes(p, s),
                        gpu_limits(d));
}
std::string dense_instance(const Tile& t, const LayerPlan& p, const Step& s) {
  return fmt::format("fse::gpu::dense<{}, {}, {}>", gpu_tile_text("DenseTile", t),
                     to_text(gpu_shape(p)), op_number(s.op));
}
Tile dense_default(const LayerPlan&, const Step&, const DeviceInfo&) {
  return {{{"dependent", 0}, {"rows", 32}, {"columns", 64}, {"ring", 4}, {"warps", 4}}};
}

// ---- plain: the same ops, for shapes that stream does not take

std::string plain_legal(const Tile& t) {
  return gpu::why_not(gpu_tile<gpu::PlainTile>(t));
}
std::string plain_fits(const Tile& t, const LayerPlan&, const Step&, const DeviceInfo& d) {
  return gpu::why_not_here(gpu_tile<gpu::PlainTile>(t), gpu_limits(d));
}
Launch plain_launch(const Tile& t, const LayerPlan&, const Step&, const DeviceInfo& d) {
  return gpu::launch_of(gpu_tile<gpu::PlainTile>(t), gpu_limits(d));
}
std::string plain_instance(const Tile& t, const LayerPlan& p, const Step& s) {
  return fmt::format("fse::gpu::plain<{}, {}, {}>", gpu_tile_text("PlainTile", t),
                     to_text(gpu_shape(p)), op_number(s.op));
}
Tile plain_default(const LayerPlan&, const Step&, const DeviceInfo&) {
  return {{{"dependent", 0}, {"warps", 8}}};
}

// ---- predictions, see stream_cost.h

double stream_us(const Tile& t, const LayerPlan& p, const Step& s, const DeviceInfo& d) {
  return predicted_stream_us(op_number(s.op), stream_tile(t), gpu_shape(p), gpu_sizes(p, s),
                             gpu_limits(d));
}
double plain_us(const Tile& t, const LayerPlan& p, const Step& s, const DeviceInfo& d) {
  return predicted_plain_us(op_number(s.op), gpu_tile<gpu::PlainTile>(t), gpu_shape(p),
                            gpu_sizes(p, s), gpu_limits(d));
}

// ---- how each goes over its weights

WeightPass stream_pass(const Tile& t, Op, const LayerPlan&) {
  const gpu::StreamTile s = stream_tile(t);
  return {.tokens = s.width, .dense = s.dense != 0, .rows = s.rows};
}
WeightPass dense_pass(const Tile& t, Op, const LayerPlan&) {
  const gpu::DenseTile d = dense_tile(t);
  return {.tokens = d.columns, .rows = d.rows, .columns = d.columns};
}
WeightPass plain_pass(const Tile&, Op, const LayerPlan&) {
  return {};
}

KernelDef stream_row(Op op) {
  return {.name = "hip." + to_name(op) + ".stream",
          .op = op,
          .device = "hip",
          .axes = kStreamAxes,
          .legal = stream_legal,
          .fits = stream_fits,
          .default_tile = stream_default,
          .predicted_us = stream_us,
          .header = "stream.h",
          .instance = stream_instance,
          .launch = stream_launch,
          .pass = stream_pass};
}
KernelDef dense_row(Op op) {
  return {.name = "hip." + to_name(op) + ".dense",
          .op = op,
          .device = "hip",
          .axes = kDenseAxes,
          .legal = dense_legal,
          .fits = dense_fits,
          .default_tile = dense_default,
          .header = "dense.h",
          .instance = dense_instance,
          .launch = dense_launch,
          .pass = dense_pass};
}
KernelDef plain_row(Op op) {
  return {.name = "hip." + to_name(op) + ".plain",
          .op = op,
          .device = "hip",
          .axes = kPlainAxes,
          .legal = plain_legal,
          .fits = plain_fits,
          .default_tile = plain_default,
          .predicted_us = plain_us,
          .header = "plain.h",
          .instance = plain_instance,
          .launch = plain_launch,
          .pass = plain_pass};
}
}  // namespace

std::vector<KernelDef> gpu_matrix_kernels() {
  std::vector<KernelDef> rows;
  for (Op op :
       {Op::gate_gemm, Op::grouped_stage1, Op::grouped_stage2, Op::mlp_stage1, Op::mlp_stage2}) {
    // The first one that takes the shape is the default.
    if (op == Op::gate_gemm || op == Op::mlp_stage1 || op == Op::mlp_stage2)
      rows.push_back(dense_row(op));
    rows.push_back(stream_row(op));
    rows.push_back(plain_row(op));
  }
  return rows;
}

}  // namespace fse
