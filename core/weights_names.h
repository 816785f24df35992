#pragma once
#include <map>
#include <string>

#include "core/weights_convert.h"

namespace fse {

// What a checkpoint's tensor is in an MoE layer. `expert` E is the shared expert.
enum class Role {
  router,
  shared_gate,
  selection_bias,
  gate,
  up,
  down,
  gate_scale,
  up_scale,
  down_scale
};
struct Target {
  Role role;
  int expert = 0;
  auto operator<=>(const Target&) const = default;
};
using LayerTensors = std::map<Target, NamedTensor>;

// Every tensor under `prefix` (empty: the only MoE layer there is) by what it means; stacked
// tensors are taken apart. Throws Error(data) naming the tensor for one that is unmapped, of which
// there are two, or that the layer needs and the checkpoint lacks.
LayerTensors map_tensors(const Safetensors&, const std::string& prefix, const LayerSpec&,
                         const std::string& where);

}  // namespace fse
