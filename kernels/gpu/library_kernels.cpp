#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "kernels/gpu/families.h"
#include "kernels/gpu/layer.h"
#include "kernels/gpu/library.h"

namespace fse {
namespace {

using gpu::Launch;

constexpr int kAlgos = 8;
// 32 MB: what cuBLAS itself takes on an H100 unless told otherwise.
const std::vector<Axis> kLibraryAxes{{"workspace_mb", {32, 0}}, {"algo", {0, 1, 2, 3, 4, 5, 6, 7}}};
constexpr gpu::RowTile kRest{.dependent = 0, .threads = 256};

std::string library_legal(const Tile& t) {
  if (library_algo(t) < 0 || library_algo(t) >= kAlgos)
    return fmt::format("algo is 0 to {}", kAlgos - 1);
  if (t.at("workspace_mb") < 0 || t.at("workspace_mb") > 1024) return "workspace_mb is 0 to 1024";
  return "";
}

Tile library_default(const LayerPlan&, const Step&, const DeviceInfo&) {
  return {{{"workspace_mb", 32}, {"algo", 0}}};
}

std::string library_fits(const Tile& t, const LayerPlan& p, const Step& s, const DeviceInfo& d) {
  if (!d.library) return "no library of the device's vendor was found, see `fselab devices`";
  if (d.kind == "emu" && !(t == library_default(p, s, d)))
    return "an emulated device has one algorithm";
  if (s.op == Op::gate_gemm && p.layer.dtype == DType::f16)
    return "the router is bf16 and the activations are f16: the library multiplies one type";
  if (s.op != Op::gate_gemm && p.layer.dtype == DType::fp8_block128)
    return "the library is not given fp8 weights: with bf16 activations it does not multiply them";
  return "";
}

// Results of 16 bits, times one number for all tokens: the library's own alpha is that.
bool weighs_itself(const LayerPlan& p) {
  return p.shard.slots == 1 && p.layer.gate_rows() == 0;
}

// What is left for a kernel behind the products; "" for nothing.
std::string rest_of(const LayerPlan& p, const Step& s) {
  if (s.op == Op::mlp_stage1) return "library_silu_mul";
  if (s.op == Op::mlp_stage2 && !weighs_itself(p)) return "library_weigh";
  return "";
}
std::string library_instance(const Tile&, const LayerPlan& p, const Step& s) {
  const std::string kernel = rest_of(p, s);
  if (kernel.empty()) return "";
  return fmt::format("fse::gpu::{}<fse::gpu::RowTile{{{},{}}}, {}>", kernel, kRest.dependent,
                     kRest.threads, to_text(gpu_shape(p)));
}
Launch library_launch(const Tile&, const LayerPlan& p, const Step& s, const DeviceInfo& d) {
  if (rest_of(p, s).empty()) return {};
  const int step = p.shard.intermediate % 8 == 0 ? 8 : 1;
  const long long items =
      s.op == Op::mlp_stage1
          ? static_cast<long long>(p.tokens) * p.shard.slots * (p.shard.intermediate / step)
          : gpu::row_items(gpu_shape(p), gpu_sizes(p, s), false);
  return gpu::launch_of(kRest, items, gpu_limits(d));
}

// Rough, as stream_cost.h is: what bounds any product on this device, and the library's own order.
double library_us(const Tile& t, const LayerPlan& p, const Step& s, const DeviceInfo& d) {
  const double rows = s.op == Op::gate_gemm    ? s.row_end - s.row_begin
                      : s.op == Op::mlp_stage1 ? 2.0 * p.shard.slots * p.shard.intermediate
                                               : p.layer.hidden;
  const double depth = s.op == Op::mlp_stage2 ? p.shard.shared.stored() : p.layer.hidden;
  const double memory = 2 * rows * depth / (23e3 * d.compute_units);  // 23 GB/s a compute unit
  const double multiply = 2 * rows * depth * p.tokens / (3e6 * d.compute_units);
  const double launches = rest_of(p, s).empty() ? 3 : 5;
  return std::max(memory, multiply) + launches + 0.2 * library_algo(t) +
         (t.at("workspace_mb") > 0 ? 0 : 0.1);
}

const void* element_at(const void* base, int64_t index) {
  return static_cast<const std::byte*>(base) + 2 * index;
}

// All slots' gate and up rows lie one behind the other: one product.
Product stage1_product(const LayerPlan& p, const gpu::Args& a) {
  const int64_t width = p.shard.intermediate, hidden = p.layer.hidden;
  const int rows = static_cast<int>(p.shard.slots * 2 * width);
  return {.weights = element_at(a.gate_up, p.layer.routing.experts * 2 * width * hidden),
          .in = a.x,
          .out = a.products,
          .rows = rows,
          .depth = p.layer.hidden,
          .weights_stride = hidden,
          .in_stride = hidden,
          .out_stride = rows,
          .out_element = Element::f32};
}

// A product for each slot, added up. What pads the last one is left out.
std::vector<Product> stage2_products(const LayerPlan& p, const gpu::Args& a, Element element) {
  const int64_t width = p.shard.intermediate, hidden = p.layer.hidden;
  const bool direct = weighs_itself(p);
  std::vector<Product> all;
  for (int slot = 0; slot < p.shard.slots; ++slot) {
    const int64_t stored = p.shard.shared.stored() - slot * width;
    all.push_back({.weights = element_at(a.down, (p.layer.routing.experts + slot) * hidden * width),
                   .in = element_at(a.shared_h, slot * width),
                   .out = direct ? a.shared_out : a.products,
                   .rows = p.layer.hidden,
                   .depth = static_cast<int>(std::min(width, stored)),
                   .weights_stride = width,
                   .in_stride = p.shard.slots * width,
                   .out_stride = hidden,
                   .out_element = direct ? element : Element::f32,
                   .alpha = direct ? static_cast<float>(p.layer.shared.constant) : 1,
                   .add = slot > 0});
  }
  return all;
}

KernelDef library_row(Op op) {
  return {.name = "hip." + to_name(op) + ".library",
          .op = op,
          .device = "hip",
          .axes = kLibraryAxes,
          .legal = library_legal,
          .fits = library_fits,
          .default_tile = library_default,
          .predicted_us = library_us,
          .header = "library.h",
          .instance = library_instance,
          .launch = library_launch};
}

}  // namespace

std::vector<KernelDef> gpu_library_kernels() {
  std::vector<KernelDef> rows;
  for (Op op : {Op::gate_gemm, Op::mlp_stage1, Op::mlp_stage2}) rows.push_back(library_row(op));
  return rows;
}

std::vector<Product> library_products(const LayerPlan& p, const Step& s, const gpu::Args& a) {
  const Element element = p.layer.dtype == DType::f16 ? Element::f16 : Element::bf16;
  std::vector<Product> all;
  if (s.op == Op::gate_gemm)
    all.push_back({.weights = element_at(a.router, int64_t{s.row_begin} * p.layer.hidden),
                   .in = a.x,
                   .out = a.gate_out,
                   .rows = s.row_end - s.row_begin,
                   .depth = p.layer.hidden,
                   .weights_stride = p.layer.hidden,
                   .in_stride = p.layer.hidden,
                   .out_stride = a.n.logits_stride,
                   .out_element = Element::f32});
  else if (s.op == Op::mlp_stage1)
    all.push_back(stage1_product(p, a));
  else if (s.op == Op::mlp_stage2)
    all = stage2_products(p, a, element);
  else
    throw std::logic_error("no library has " + to_name(s.op));
  for (Product& product : all) {
    product.tokens = p.tokens;
    product.element = element;
  }
  return all;
}

int64_t library_scratch_bytes(const LayerPlan& p, const Step& s) {
  if (rest_of(p, s).empty()) return 0;
  const int64_t columns =
      s.op == Op::mlp_stage1 ? int64_t{2} * p.shard.slots * p.shard.intermediate : p.layer.hidden;
  return columns * p.tokens * 4;
}

int library_algo(const Tile& tile) {
  return tile.at("algo");
}
int64_t library_workspace_bytes(const Tile& tile) {
  return int64_t{tile.at("workspace_mb")} << 20;
}

}  // namespace fse
