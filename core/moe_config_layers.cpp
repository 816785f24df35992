#include <fmt/format.h>

#include "core/config_keys.h"
#include "core/error.h"
#include "core/moe_config.h"

namespace fse {
namespace {

using nlohmann::json;

// A list with one entry per layer.
const json& per_layer(const ConfigObject& config, const Stated& stated, int num_layers) {
  if (!stated.value->is_array() || stated.value->size() != static_cast<size_t>(num_layers))
    fail_value(config, stated.key, *stated.value,
               fmt::format("a list with an entry for each of {} layers", num_layers));
  return *stated.value;
}

void mark_frequency(const ConfigObject& config, std::vector<bool>& dense) {
  const int num_layers = static_cast<int>(dense.size());
  const auto stated = find_stated(config, keys::kFrequency);
  if (!stated) return;
  if (!stated->value->is_array()) {
    const int frequency = checked_int(config, stated->key, *stated->value, 1, kMostLayers);
    for (int layer = 0; layer < num_layers; ++layer)
      if (layer % frequency != 0) dense[layer] = true;
    return;
  }
  const json& flags = per_layer(config, *stated, num_layers);
  for (int layer = 0; layer < num_layers; ++layer)
    if (checked_int(config, stated->key, flags[layer], 0, 1) == 0) dense[layer] = true;
}

void mark_list(const ConfigObject& config, std::vector<bool>& dense) {
  const auto stated = find_stated(config, keys::kDenseList);
  if (!stated) return;
  if (!stated->value->is_array())
    fail_value(config, stated->key, *stated->value, "a list of layers");
  // Layers beyond the last are harmless: configs cut down from a larger model keep them.
  for (const json& entry : *stated->value) {
    const int layer = checked_int(config, stated->key, entry, 0, kMostLayers);
    if (layer < static_cast<int>(dense.size())) dense[layer] = true;
  }
}

void mark_kinds(const ConfigObject& config, std::vector<bool>& dense) {
  const auto stated = find_stated(config, keys::kLayerKinds);
  if (!stated) return;
  const json& kinds = per_layer(config, *stated, static_cast<int>(dense.size()));
  for (size_t layer = 0; layer < dense.size(); ++layer) {
    if (kinds[layer] == "dense") dense[layer] = true;
    if (kinds[layer] != "dense" && kinds[layer] != "sparse")
      fail_value(config, stated->key, kinds[layer], "\"dense\" or \"sparse\"");
  }
}

}  // namespace

std::string beyond_last_layer(const ConfigObject& config, int num_layers) {
  const auto stated = find_stated(config, keys::kDenseList);
  if (!stated || !stated->value->is_array()) return "";
  for (const json& entry : *stated->value)
    if (const int layer = checked_int(config, stated->key, entry, 0, kMostLayers);
        layer >= num_layers)
      return fmt::format("{}{} names layer {}, but the last one is {}", config.prefix, stated->key,
                         layer, num_layers - 1);
  return "";
}

std::vector<int> read_dense_layers(const ConfigObject& config, int num_layers) {
  std::vector<bool> dense(static_cast<size_t>(num_layers), false);
  const int first = find_int(config, keys::kFirstMoe, 0, num_layers).value_or(0);
  const int start = find_int(config, keys::kStart, 0, num_layers).value_or(0);
  const int end = find_int(config, keys::kEnd, -1, num_layers).value_or(-1);  // -1: the last
  const int step = find_int(config, keys::kStep, 1, kMostLayers).value_or(1);
  for (int layer = 0; layer < num_layers; ++layer) {
    const bool after_end = end >= 0 && layer > end;
    if (layer < first || layer < start || after_end || (layer + 1) % step != 0) dense[layer] = true;
  }
  mark_frequency(config, dense);
  mark_list(config, dense);
  mark_kinds(config, dense);
  std::vector<int> layers;
  for (int layer = 0; layer < num_layers; ++layer)
    if (dense[layer]) layers.push_back(layer);
  if (static_cast<int>(layers.size()) == num_layers)
    fail_usage(fmt::format("{}: all {} layers are dense, expected at least one with experts",
                           config.file, num_layers));
  return layers;
}

namespace {

int uniform_int(const MoeConfig& config, const Stated& stated, int lowest, int highest) {
  const ConfigObject& object = config.object;
  if (!stated.value->is_array())
    return checked_int(object, stated.key, *stated.value, lowest, highest);
  const json& entries = per_layer(object, stated, config.num_layers);
  const int first_layer = config.moe_layers.front();
  const int value = checked_int(object, stated.key, entries[first_layer], lowest, highest);
  for (int layer : config.moe_layers) {
    const int other = checked_int(object, stated.key, entries[layer], lowest, highest);
    if (other != value)
      refuse(object, stated.key,
             fmt::format("is {} in layer {} but {} in layer {}: layers that differ are not "
                         "implemented",
                         value, first_layer, other, layer));
  }
  return value;
}

}  // namespace

std::optional<int> find_uniform_int(const MoeConfig& config, Keys keys, int lowest, int highest) {
  std::optional<int> value;
  std::string_view value_key;
  for (const std::string_view& key : keys) {  // one by one: a number may stand beside a list
    const auto stated = find_stated(config.object, {&key, 1});
    if (!stated) continue;
    const int other = uniform_int(config, *stated, lowest, highest);
    if (value && *value != other)
      fail_usage(fmt::format("{}: {}{} is {}, but {} is {}: expected the same", config.object.file,
                             config.object.prefix, value_key, *value, key, other));
    value = other;
    value_key = key;
  }
  return value;
}

}  // namespace fse
