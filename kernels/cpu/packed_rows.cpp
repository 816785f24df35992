#include "kernels/cpu/packed_rows.h"

namespace fse {
namespace {

// Matrix `index` of equally shaped ones that lie one behind the other.
PackedRows nth_matrix(DType dtype, const std::byte* data, const float* scales, int64_t index,
                      int64_t rows, int64_t cols) {
  const int64_t row_bytes = cols * element_bytes(dtype);
  PackedRows view{dtype, data + index * rows * row_bytes, row_bytes, nullptr, 0};
  if (dtype != DType::fp8_block128) return view;
  view.scales = scales + index * scale_blocks(rows) * scale_blocks(cols);
  view.scales_per_block_row = scale_blocks(cols);
  return view;
}

}  // namespace

PackedRows router_rows(const LayerWeights& w) {
  return nth_matrix(router_dtype(w.layer), w.router, nullptr, 0, 0, w.layer.hidden);
}

PackedRows gate_rows(const LayerWeights& w, int expert) {
  return nth_matrix(w.layer.dtype, w.gate_up, w.gate_up_scale, int64_t{expert} * 2,
                    w.shard.intermediate, w.layer.hidden);
}

PackedRows up_rows(const LayerWeights& w, int expert) {
  return nth_matrix(w.layer.dtype, w.gate_up, w.gate_up_scale, int64_t{expert} * 2 + 1,
                    w.shard.intermediate, w.layer.hidden);
}

PackedRows down_rows(const LayerWeights& w, int expert) {
  return nth_matrix(w.layer.dtype, w.down, w.down_scale, expert, w.layer.hidden,
                    w.shard.intermediate);
}

}  // namespace fse
