#pragma once
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/weights.h"

namespace fse {

// Where things lie in packed weights: the arithmetic behind LayerWeights' comments.
struct WeightsLayout {
  int64_t experts = 0;       // routed
  int64_t indices = 0;       // experts + slots
  int64_t router_rows = 0;   // experts + gate_rows
  int64_t hidden = 0;        // H
  int64_t intermediate = 0;  // I, as stored
  int64_t element_bytes = 0;
  int64_t router_bytes = 0;                            // of the whole router, per set
  int64_t bias_bytes = 0;                              // per set; 0 where the layer has none
  int64_t hidden_blocks = 0, intermediate_blocks = 0;  // 0 unless fp8_block128

  // Per expert index.
  int64_t gate_up_elements() const { return 2 * intermediate * hidden; }
  int64_t down_elements() const { return hidden * intermediate; }
  int64_t gate_up_scales() const { return 2 * intermediate_blocks * hidden_blocks; }
  int64_t down_scales() const { return hidden_blocks * intermediate_blocks; }
  int64_t expert_bytes() const {
    return (gate_up_elements() + down_elements()) * element_bytes +
           (gate_up_scales() + down_scales()) * 4;
  }
};
// Throws Error(environment) for a layer larger than any memory.
WeightsLayout weights_layout(const LayerSpec&, const Shard&);

struct WeightsStorage {
  HostBuffer router, selection_bias, gate_up, down, gate_up_scale, down_scale;
};
std::shared_ptr<WeightsStorage> allocate_weights(const WeightsLayout&, int64_t indices, int sets);
LayerWeights view_weights(const LayerSpec&, const Shard&, std::shared_ptr<WeightsStorage>,
                          int64_t first_index, int set);

// Kernels see weights as const; the memory behind them is a HostBuffer's and may be written.
template <class T>
T* writable(const T* pointer) {
  return const_cast<T*>(pointer);
}

// The rows [first, second) of an expert index that hold the checkpoint's values; all else is zero.
std::pair<int, int> owned_rows(const Shard&, int experts, int index);

// Before packing: every expert element is poison, every scale is 1 (what blocks of padding keep).
void reset_experts(LayerWeights&);

// Zeroes everything outside owned_rows (columns of `down`). Returns the elements it wrote.
int64_t zero_padding(LayerWeights&);

enum class Projection { gate, up, down };

// One projection of one expert as a checkpoint has it: not sharded, in the layer's dtype.
struct ExpertMatrix {
  int rows = 0, cols = 0;
  std::vector<std::byte> elements;
  std::vector<float> scales;  // [ceil(rows / 128)][ceil(cols / 128)]; fp8_block128 only
};

// Copies between packed weights and whole matrices; `expert` E is the whole shared expert. Packing
// takes the shard's part of the matrix and returns the elements it wrote.
int64_t pack(const ExpertMatrix&, Projection, int expert, LayerWeights&);
// Throws std::logic_error unless `written` elements are all there are: each was written, once.
void check_complete(const LayerWeights&, int64_t written);
ExpertMatrix unpack(const LayerWeights& whole, Projection, int expert);

}  // namespace fse
