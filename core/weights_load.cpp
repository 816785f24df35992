#include <array>

#include "core/error.h"
#include "core/weights_names.h"

namespace fse {
namespace {

struct ProjectionRoles {
  Projection projection;
  Role weight, scale;
};
constexpr std::array<ProjectionRoles, 3> kProjections{
    {{Projection::gate, Role::gate, Role::gate_scale},
     {Projection::up, Role::up, Role::up_scale},
     {Projection::down, Role::down, Role::down_scale}}};

// Packs one expert, the shared one as expert E; returns the elements it wrote.
int64_t load_expert(const LayerTensors& tensors, int expert, LayerWeights& w) {
  const LayerSpec& layer = w.layer;
  const int width = expert < layer.routing.experts ? layer.intermediate : layer.shared.shared_width;
  int64_t written = 0;
  for (const auto& [projection, weight, scale] : kProjections) {
    const auto scale_at = tensors.find({scale, expert});
    const bool down = projection == Projection::down;
    const ExpertMatrix matrix = convert_matrix(
        tensors.at({weight, expert}), scale_at == tensors.end() ? nullptr : &scale_at->second,
        down ? layer.hidden : width, down ? width : layer.hidden, layer.dtype);
    written += pack(matrix, projection, expert, w);
  }
  return written;
}

// Router rows, then the shared gate's; both in the router's own type.
void load_router(const LayerTensors& tensors, const LayerSpec& layer, WeightsStorage& storage) {
  const DType dtype = router_dtype(layer);
  const int64_t experts = layer.routing.experts;
  convert_elements(tensors.at({Role::router}), {experts, layer.hidden}, dtype,
                   storage.router.data());
  if (layer.gate_rows() > 0)
    convert_elements(tensors.at({Role::shared_gate}), {1, layer.hidden}, dtype,
                     storage.router.data() + experts * layer.hidden * element_bytes(dtype));
  if (layer.routing.selection_bias)
    convert_elements(tensors.at({Role::selection_bias}), {experts}, DType::f32,
                     storage.selection_bias.data());
}

}  // namespace

LayerWeights load_weights(const LayerSpec& layer, const Shard& shard,
                          const std::filesystem::path& dir, const std::string& prefix) {
  validate(layer);
  const Safetensors checkpoint = Safetensors::open_checkpoint(dir);
  const LayerTensors tensors = map_tensors(checkpoint, prefix, layer, dir.string());
  const WeightsLayout layout = weights_layout(layer, shard);
  const auto storage = allocate_weights(layout, layout.indices, 1);
  load_router(tensors, layer, *storage);
  LayerWeights w = view_weights(layer, shard, storage, 0, 0);
  reset_experts(w);
  int64_t written = zero_padding(w);
  for (int expert = 0; expert < layer.routing.experts + layer.has_shared(); ++expert)
    written += load_expert(tensors, expert, w);
  check_complete(w, written);
  return w;
}

}  // namespace fse
