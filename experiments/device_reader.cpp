#include "experiments/device_reader.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/strict_json.h"
#include "experiments/config_file.h"
#include "experiments/yaml_reader.h"

namespace fse {
namespace {

namespace fs = std::filesystem;

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
  const fs::path file = find_config(name, fmt::format("device '{}' has no model", printable(name)),
                                    configs_dir / "devices");
  return parse_device_model(read_config(file), file.string());
}

}  // namespace fse
