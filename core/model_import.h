#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "core/layer_spec.h"

namespace fse {

// What a Hugging Face config.json says about its MoE layers.
struct ModelConfig {
  std::string name;  // preset name or path
  std::string model_type;
  LayerSpec layer;  // dtype bf16; a sweep sets it
  int num_layers = 0;
  std::vector<int> dense_layers;   // indices without experts
  std::string storage;             // "bf16", "fp8_block128", or an unsupported format by its name
  bool storage_supported = true;   // false: weights of this checkpoint cannot be loaded
  std::string storage_key;         // of the config, that says so
  std::vector<std::string> notes;  // "KEY ...": what the config states without effect
};

// Throws Refused("FILE: key: reason") for MoE semantics that are not implemented, Error(usage) for
// a file that is missing, not JSON, or not an MoE model, with the key and what was expected.
ModelConfig import_config(const std::filesystem::path& config_json);

// A preset's name (a file of configs/models, without .json) or a path. Unknown names list the
// nearest preset.
ModelConfig find_model(const std::string& name_or_path, const std::filesystem::path& configs_dir);
std::vector<std::string> preset_names(const std::filesystem::path& configs_dir);

}  // namespace fse
