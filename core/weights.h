#pragma once
#include <Eigen/Dense>
#include <filesystem>
#include <memory>
#include <vector>

#include "core/host_buffer.h"
#include "core/layer_spec.h"

namespace fse {

// One layer's packed weights, as every kernel reads them. Pointers into memory that `owner` keeps.
// Expert indices: routed [0, E), then the shared expert as slots [E, E + slots): shared=mlp and
// shared=slot read the same bytes.
struct LayerWeights {
  LayerSpec layer;
  Shard shard;

  const std::byte* router = nullptr;      // [E + gate_rows, hidden], f32 or (all other dtypes) bf16
  const float* selection_bias = nullptr;  // [E]; nullptr where the layer has none
  // Per expert index 2 * I rows of `hidden`: gate rows first, then up rows. I = shard.intermediate.
  const std::byte* gate_up = nullptr;  // [E + slots][2 * I][hidden]
  const std::byte* down = nullptr;     // [E + slots][hidden][I]
  // fp8_block128 only: f32 scale of each 128x128 block, gate and up with their own block rows.
  const float* gate_up_scale = nullptr;  // [E + slots][2][ceil(I / 128)][ceil(hidden / 128)]
  const float* down_scale = nullptr;     // [E + slots][ceil(hidden / 128)][ceil(I / 128)]

  std::shared_ptr<const void> owner;
};

// Router element type of a layer: f32 for f32 layers, else bf16 (fp8 checkpoints keep it so too).
DType router_dtype(const LayerSpec&);

// Weights as float64, converted on demand, one expert at a time.
using WeightMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
WeightMatrix router_matrix(const LayerWeights&, int row_begin, int row_end);  // [rows, hidden]
WeightMatrix gate_matrix(const LayerWeights&, int expert);                    // [I, hidden]
WeightMatrix up_matrix(const LayerWeights&, int expert);                      // [I, hidden]
WeightMatrix down_matrix(const LayerWeights&, int expert);                    // [hidden, I]

// `sets` layers of seeded random weights for measuring with rotation; values have a standard
// deviation of 1 / sqrt(fan-in), so that outputs are of order 1. Set r is a window of one arena
// that begins r * stride expert indices later: what set r calls expert e lies elsewhere in memory
// than what set r+1 calls expert e. The windows are disjoint where that costs at most
// `rotation_bytes` more than one set, else they overlap as little as that allows. The router and
// the selection bias are copied per set (the same values: one input routes alike in every set).
// Padding is zero in every set. Where windows overlap, a routed expert of one set may be the
// zero-padded slot of another: its zero rows are then weights like any other.
inline constexpr int64_t kRotationBytes = int64_t{512}
                                          << 20;  // twice a last-level cache of 256 MiB
std::vector<LayerWeights> random_weights(const LayerSpec&, const Shard&, uint64_t seed,
                                         int sets = 1, int64_t rotation_bytes = kRotationBytes);
int64_t random_weights_bytes(const LayerSpec&, const Shard&, int sets,
                             int64_t rotation_bytes = kRotationBytes);

// Reads DIR/model.safetensors, or the shards of DIR/model.safetensors.index.json, with hub names
// (model.layers.N.mlp.*, mtp.layers.N.mlp.*), converting to `layer.dtype` and cutting `shard`.
// `prefix` e.g. "model.layers.0.mlp"; empty: the only MoE layer in the file, else an error that
// lists them. Unmapped, missing or doubly written tensors are errors that name the tensor; so are
// values that are not finite, or that the layer's dtype cannot hold.
LayerWeights load_weights(const LayerSpec&, const Shard&, const std::filesystem::path& dir,
                          const std::string& prefix = "");

// One rank's share of an unsharded layer, cut exactly as load_weights cuts a checkpoint.
LayerWeights shard_weights(const LayerWeights& whole, int tp, int rank);

// Mutable access for probes and tests: a deep copy whose bytes may be changed through the pointers.
LayerWeights clone_weights(const LayerWeights&);

}  // namespace fse
