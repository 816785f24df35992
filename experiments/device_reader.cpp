#include "experiments/device_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "core/error.h"
#include "core/nearest.h"
#include "core/strict_json.h"
#include "experiments/yaml_reader.h"

namespace fse {
namespace {

namespace fs = std::filesystem;

const YamlNode& need(const YamlNode& map, const std::string& key, const std::string& of) {
  const YamlNode* node = find_key(map, key);
  if (node == nullptr) fail_usage(fmt::format("{}: {} has no '{}'", map.where, of, key));
  return *node;
}

double read_number(const YamlNode& node, const std::string& key, double low, double high) {
  const std::string expected = fmt::format("a number from {} to {}", low, high);
  const std::optional<double> value = parse_number(read_text(node, key, expected));
  if (!value || !(*value >= low && *value <= high)) fail_value(node, key, expected);
  return *value;
}

Provenance read_provenance(const YamlNode& map, const std::string& key) {
  return {.source = read_text(need(map, "source", key), key + ".source", "where it is from"),
          .date = read_text(need(map, "date", key), key + ".date", "a date such as 2026-11-25"),
          .kind = read_choice(need(map, "kind", key), key + ".kind",
                              {"measured", "published", "datasheet", "inferred"})};
}

void read_field(const YamlNode& map, const DeviceField& field, DeviceModel& device) {
  const std::string key(field.name);
  require_map(map, key, {"value", "unit", "source", "date", "kind"});
  device.*field.value =
      read_number(need(map, "value", key), key + ".value", field.lowest, field.highest);
  read_choice(need(map, "unit", key), key + ".unit", {std::string(field.unit)});
  device.provenance.emplace_back(key, read_provenance(map, key));
}

void read_all_reduce(const YamlNode& node, DeviceModel& device) {
  for (const YamlNode& item : read_list(node, "all_reduce")) {
    require_map(item, "all_reduce", {"tp", "bytes", "us", "source", "date", "kind"});
    const auto number = [&](const char* key, double low, double high) {
      return read_number(need(item, key, "all_reduce"), std::string("all_reduce.") + key, low,
                         high);
    };
    device.all_reduce.push_back({.tp = static_cast<int>(number("tp", 2, 1024)),
                                 .bytes = number("bytes", 1, 1e12),
                                 .us = number("us", 0, 1e7)});
    device.provenance.emplace_back("all_reduce", read_provenance(item, "all_reduce"));
  }
}

}  // namespace

DeviceModel parse_device_model(const std::string& yaml, const std::string& file) {
  const YamlNode root = parse_yaml(yaml, file);
  std::vector<std::string> keys{"name", "arch", "all_reduce"};
  for (const DeviceField& field : device_fields()) keys.emplace_back(field.name);
  require_map(root, "the device", keys);
  DeviceModel device;
  device.name = read_text(need(root, "name", "the device"), "name", "the device's name");
  device.arch = read_text(need(root, "arch", "the device"), "arch", "such as gfx950");
  for (const DeviceField& field : device_fields()) {
    const YamlNode* node = find_key(root, std::string(field.name));
    if (node != nullptr)
      read_field(*node, field, device);
    else if (field.required)
      fail_usage(fmt::format("{}: the device has no '{}'", root.where, field.name));
  }
  if (const YamlNode* node = find_key(root, "all_reduce")) read_all_reduce(*node, device);
  if (device.read_gbs > device.peak_gbs)
    fail_usage(fmt::format("{}: read_gbs is {}, expected at most peak_gbs, {}", root.where,
                           device.read_gbs, device.peak_gbs));
  return device;
}

DeviceModel find_device_model(const std::string& name, const fs::path& configs_dir) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(configs_dir / "devices", error))
    if (entry.path().extension() == ".yaml") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  if (std::find(names.begin(), names.end(), name) == names.end())
    fail_usage(fmt::format("device '{}' has no model, expected one of {}{}", printable(name),
                           fmt::join(names, ", "), did_you_mean(name, names)));
  const fs::path file = configs_dir / "devices" / (name + ".yaml");
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return parse_device_model(text.str(), file.string());
}

}  // namespace fse
