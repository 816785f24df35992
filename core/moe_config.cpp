#include "core/moe_config.h"

#include <fmt/format.h>

#include "core/config_keys.h"
#include "core/error.h"

namespace fse {
namespace {

using nlohmann::json;

// Where multimodal models keep their language model.
constexpr std::string_view kNested[] = {"text_config", "llm_config", "language_config",
                                        "thinker_config.text_config"};

bool states_experts(const json& object) {
  for (std::string_view key : keys::kExperts)
    if (object.contains(key) && !object.at(std::string(key)).is_null()) return true;
  return false;
}

const json* find_path(const json& root, std::string_view path) {
  const size_t dot = path.find('.');
  const auto found = root.find(path.substr(0, dot));
  if (found == root.end() || !found->is_object()) return nullptr;
  return dot == std::string_view::npos ? &*found : find_path(*found, path.substr(dot + 1));
}

ConfigObject language_model(const ConfigObject& root) {
  for (std::string_view path : kNested) {
    const std::string_view key = path.substr(0, path.find('.'));
    const auto outer = root.json.find(key);
    if (outer != root.json.end() && !outer->is_null() && !outer->is_object())
      fail_value(root, key, *outer, "an object with the language model's keys");
    const json* nested = find_path(root.json, path);
    if (nested && states_experts(*nested)) return {root.file, std::string(path) + ".", *nested};
  }
  if (!states_experts(root.json)) {
    fail_usage(fmt::format("{}: is not the config of an MoE model: none of {} is in it", root.file,
                           fmt::join(keys::kExperts, ", ")));
  }
  return root;
}

std::string read_model_type(const ConfigObject& object, const ConfigObject& root) {
  const auto own = find_string(object, keys::kModelType);
  return own ? *own : find_string(root, keys::kModelType).value_or("");
}

}  // namespace

MoeConfig read_moe_config(const std::filesystem::path& file) {
  MoeConfig config;
  config.root = read_config_json(file);
  config.object = language_model(config.root);
  config.model_type = read_model_type(config.object, config.root);
  config.family = family_of(config.model_type);
  if (const auto reasons = refusals(config); !reasons.empty())
    throw Refused(fmt::format("{}: {}", config.object.file, fmt::join(reasons, "; ")));
  config.num_layers = require_int(config.object, keys::kNumLayers, 1, kMostLayers);
  config.dense_layers = read_dense_layers(config.object, config.num_layers);
  if (std::string note = beyond_last_layer(config.object, config.num_layers); !note.empty())
    config.notes.push_back(std::move(note));
  auto dense = config.dense_layers.begin();
  for (int layer = 0; layer < config.num_layers; ++layer) {
    if (dense != config.dense_layers.end() && *dense == layer)
      ++dense;
    else
      config.moe_layers.push_back(layer);
  }
  return config;
}

int read_intermediate(const MoeConfig& config) {
  if (const auto width = find_uniform_int(config, keys::kWidth, 1, kWidest)) return *width;
  if (!config.family.dense_width_is_expert_width)
    fail_missing(config.object, keys::kWidth, "the width of one expert");
  const auto width = find_uniform_int(config, keys::kDenseWidth, 1, kWidest);
  if (!width) fail_missing(config.object, keys::kDenseWidth, "the width of one expert");
  return *width;
}

}  // namespace fse
