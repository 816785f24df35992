#pragma once
#include <string>
#include <vector>

#include "core/config_json.h"
#include "core/model_family.h"

namespace fse {

inline constexpr int kMostLayers = 1 << 16;
inline constexpr int kMostExperts = 1 << 16;
inline constexpr int kWidest = 1 << 24;

// The part of a config.json that describes the experts, before it becomes a LayerSpec.
struct MoeConfig {
  ConfigObject object;  // the root, or the language model's object nested in it
  ConfigObject root;
  std::string model_type;
  Family family;
  int num_layers = 0;
  std::vector<int> dense_layers;  // without experts
  std::vector<int> moe_layers;    // all others
  std::vector<std::string> notes;
};

// Selects the object, the family and the layers. Throws Refused, naming every key at fault, where
// the semantics are not implemented: see moe_config_refusals.cpp.
MoeConfig read_moe_config(const std::filesystem::path& file);

// What the config says of layers that the model does not have; "" where it says nothing.
std::string beyond_last_layer(const ConfigObject&, int num_layers);

// Layers 0 to num_layers - 1 that hold no experts.
std::vector<int> read_dense_layers(const ConfigObject&, int num_layers);

// Every reason, as "key: reason", why the layer's semantics are not implemented.
std::vector<std::string> refusals(const MoeConfig&);

// The fact's value in all MoE layers: a list has an entry per layer. Refused where they differ.
std::optional<int> find_uniform_int(const MoeConfig&, Keys keys, int lowest, int highest);

RoutingSpec read_routing(const MoeConfig&);
int read_intermediate(const MoeConfig&);
SharedSpec read_shared(const MoeConfig&, int intermediate);

struct Storage {
  std::string name;  // "bf16", "fp8_block128", or an unsupported format by its own name
  bool supported = true;
  std::string_view key = {};  // that says so
};
Storage read_storage(const MoeConfig&);

}  // namespace fse
