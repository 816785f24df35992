#include "core/weights.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/convert.h"
#include "core/error.h"
#include "core/weights_layout.h"

namespace fse {
namespace {

std::array<double, 256> fp8_values() {
  std::array<double, 256> values;
  for (int code = 0; code < 256; ++code)
    values[static_cast<size_t>(code)] = from_fp8_e4m3fn(static_cast<uint8_t>(code));
  return values;
}

// Stored elements, 4-byte aligned at the least, as float64.
void widen(const std::byte* from, DType dtype, int64_t count, double* to) {
  if (dtype == DType::f32) {
    const auto* values = reinterpret_cast<const float*>(from);
    for (int64_t i = 0; i < count; ++i) to[i] = values[i];
    return;
  }
  const auto* bits = reinterpret_cast<const uint16_t*>(from);
  if (dtype == DType::bf16)
    for (int64_t i = 0; i < count; ++i) to[i] = from_bf16(bits[i]);
  else
    for (int64_t i = 0; i < count; ++i) to[i] = fast_from_f16(bits[i]);
}

void widen_fp8(const std::byte* codes, const float* scales, WeightMatrix& to) {
  static const std::array<double, 256> kValues = fp8_values();
  const Eigen::Index block_cols = (to.cols() + kScaleBlock - 1) / kScaleBlock;
  for (Eigen::Index r = 0; r < to.rows(); ++r) {
    const float* row_scales = scales + r / kScaleBlock * block_cols;
    const auto* row = reinterpret_cast<const uint8_t*>(codes) + r * to.cols();
    double* out = to.data() + r * to.cols();
    for (Eigen::Index b = 0; b < block_cols; ++b) {
      const double scale = row_scales[b];
      const Eigen::Index end = std::min<Eigen::Index>(to.cols(), (b + 1) * kScaleBlock);
      for (Eigen::Index c = b * kScaleBlock; c < end; ++c) out[c] = kValues[row[c]] * scale;
    }
  }
}

WeightMatrix widen_matrix(const LayerWeights& w, const std::byte* from, const float* scales,
                          int64_t rows, int64_t cols) {
  WeightMatrix to(rows, cols);
  if (w.layer.dtype == DType::fp8_block128)
    widen_fp8(from, scales, to);
  else
    widen(from, w.layer.dtype, rows * cols, to.data());
  return to;
}

WeightMatrix gate_up_half(const LayerWeights& w, int expert, int half) {
  const WeightsLayout l = weights_layout(w.layer, w.shard);
  check(expert >= 0 && expert < l.indices, "an expert index lies in [0, experts + slots)");
  const int64_t index = int64_t{expert} * 2 + half;
  const float* scales = w.gate_up_scale;
  if (scales != nullptr) scales += index * l.intermediate_blocks * l.hidden_blocks;
  return widen_matrix(w, w.gate_up + index * l.intermediate * l.hidden * l.element_bytes, scales,
                      l.intermediate, l.hidden);
}

}  // namespace

DType router_dtype(const LayerSpec& layer) {
  return layer.dtype == DType::f32 ? DType::f32 : DType::bf16;
}

WeightMatrix router_matrix(const LayerWeights& w, int row_begin, int row_end) {
  const WeightsLayout l = weights_layout(w.layer, w.shard);
  check(row_begin >= 0 && row_begin <= row_end && row_end <= l.router_rows,
        "router rows lie in [0, experts + gate_rows)");
  const DType dtype = router_dtype(w.layer);
  WeightMatrix to(row_end - row_begin, l.hidden);
  widen(w.router + row_begin * l.hidden * element_bytes(dtype), dtype, to.size(), to.data());
  return to;
}

WeightMatrix gate_matrix(const LayerWeights& w, int expert) {
  return gate_up_half(w, expert, 0);
}

WeightMatrix up_matrix(const LayerWeights& w, int expert) {
  return gate_up_half(w, expert, 1);
}

WeightMatrix down_matrix(const LayerWeights& w, int expert) {
  const WeightsLayout l = weights_layout(w.layer, w.shard);
  check(expert >= 0 && expert < l.indices, "an expert index lies in [0, experts + slots)");
  const float* scales = w.down_scale;
  if (scales != nullptr) scales += expert * l.down_scales();
  return widen_matrix(w, w.down + expert * l.down_elements() * l.element_bytes, scales, l.hidden,
                      l.intermediate);
}

LayerWeights clone_weights(const LayerWeights& w) {
  const WeightsLayout l = weights_layout(w.layer, w.shard);
  auto storage = allocate_weights(l, l.indices, 1);
  const auto copy = [](HostBuffer& to, const void* from) {
    if (to.bytes() > 0) std::memcpy(to.data(), from, static_cast<size_t>(to.bytes()));
  };
  copy(storage->router, w.router);
  copy(storage->selection_bias, w.selection_bias);
  copy(storage->gate_up, w.gate_up);
  copy(storage->down, w.down);
  copy(storage->gate_up_scale, w.gate_up_scale);
  copy(storage->down_scale, w.down_scale);
  return view_weights(w.layer, w.shard, std::move(storage), 0, 0);
}

LayerWeights shard_weights(const LayerWeights& whole, int tp, int rank) {
  check(whole.shard.tp == 1, "only an unsharded layer can be cut");
  const Shard shard = make_shard(whole.layer, tp, rank);
  const WeightsLayout l = weights_layout(whole.layer, shard);
  auto storage = allocate_weights(l, l.indices, 1);
  std::memcpy(storage->router.data(), whole.router, static_cast<size_t>(l.router_bytes));
  if (l.bias_bytes > 0)
    std::memcpy(storage->selection_bias.data(), whole.selection_bias,
                static_cast<size_t>(l.bias_bytes));
  LayerWeights part = view_weights(whole.layer, shard, std::move(storage), 0, 0);
  reset_experts(part);
  int64_t written = zero_padding(part);
  const int last = static_cast<int>(l.experts) - 1 + whole.layer.has_shared();
  for (int expert = 0; expert <= last; ++expert)
    for (const Projection p : {Projection::gate, Projection::up, Projection::down})
      written += pack(unpack(whole, p, expert), p, expert, part);
  check_complete(part, written);
  return part;
}

}  // namespace fse
