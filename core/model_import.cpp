#include "core/model_import.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/config_keys.h"
#include "core/error.h"
#include "core/moe_config.h"
#include "core/nearest.h"

namespace fse {

namespace fs = std::filesystem;

ModelConfig import_config(const fs::path& config_json) {
  const MoeConfig config = read_moe_config(config_json);
  ModelConfig model;
  model.name = config_json.string();
  model.model_type = config.model_type;
  model.num_layers = config.num_layers;
  model.dense_layers = config.dense_layers;
  model.layer.model = model.name;
  model.layer.hidden = require_int(config.object, keys::kHidden, 1, kWidest);
  model.layer.intermediate = read_intermediate(config);
  model.layer.routing = read_routing(config);
  model.layer.shared = read_shared(config, model.layer.intermediate);
  const Storage storage = read_storage(config);
  model.storage = storage.name;
  model.storage_supported = storage.supported;
  model.storage_key = storage.key;
  model.notes = config.notes;
  // For unknown types a config has to say that the experts are gated at all.
  if (config.family.model_type.empty() && !find_stated(config.object, keys::kActivation))
    refuse(config.object, keys::kActivation.front(),
           "is absent, and the model_type is not known: expected silu");
  validate(model.layer);
  return model;
}

std::vector<std::string> preset_names(const fs::path& configs_dir) {
  std::error_code error;
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(configs_dir / "models", error))
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  if (error)
    throw Error(ErrorKind::environment,
                fmt::format("{}: cannot be listed: {}", (configs_dir / "models").string(),
                            error.message()));
  std::sort(names.begin(), names.end());
  return names;
}

ModelConfig find_model(const std::string& name_or_path, const fs::path& configs_dir) {
  const fs::path path = name_or_path;
  std::error_code ignored;
  if (fs::is_regular_file(path / "config.json", ignored)) {
    ModelConfig model = import_config(path / "config.json");
    model.name = model.layer.model = name_or_path;
    return model;
  }
  const bool is_path = name_or_path.find('/') != std::string::npos || path.extension() == ".json";
  if (is_path) return import_config(path);
  const std::vector<std::string> names = preset_names(configs_dir);
  if (std::find(names.begin(), names.end(), name_or_path) == names.end())
    fail_usage(
        fmt::format("model '{}' is not a preset{}; expected the path of a config.json or "
                    "one of: {}",
                    name_or_path, did_you_mean(name_or_path, names), fmt::join(names, ", ")));
  ModelConfig model = import_config(configs_dir / "models" / (name_or_path + ".json"));
  model.name = model.layer.model = name_or_path;
  return model;
}

}  // namespace fse
