#include "experiments/device_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/strict_json.h"
#include "experiments/config_file.h"
#include "experiments/yaml_reader.h"

namespace fse {
namespace {

namespace fs = std::filesystem;

// A 95 % interval of n samples: its half width is the number's own.
void read_interval(const YamlNode& map, const std::string& key, double value, DeviceModel& device) {
  const double low = read_number(need(map, "low", key), key + ".low", 0, value);
  const double high = read_number(need(map, "high", key), key + ".high", value, 1e12);
  read_integer(need(map, "n", key), key + ".n", 6, 1'000'000);
  if (value > 0) device.spreads[key] = std::max(high - value, value - low) / value;
}

void read_field(const YamlNode& map, const DeviceField& field, DeviceModel& device) {
  const std::string key(field.name);
  require_map(map, key, {"value", "unit", "source", "date", "kind", "low", "high", "n"});
  device.*field.value =
      read_number(need(map, "value", key), key + ".value", field.lowest, field.highest);
  read_choice(need(map, "unit", key), key + ".unit", {std::string(field.unit)});
  device.provenance.emplace_back(key, read_provenance(map, key));
  if (find_key(map, "n") != nullptr) read_interval(map, key, device.*field.value, device);
}

// What `fselab calibrate` kept of a device beside its numbers: checked, for people and for fits.
void check_points(const YamlNode& node, const std::string& key,
                  const std::vector<std::string>& numbers, const std::vector<std::string>& texts) {
  for (const YamlNode& item : read_list(node, key)) {
    std::vector<std::string> keys = numbers;
    keys.insert(keys.end(), texts.begin(), texts.end());
    require_map(item, key, keys);
    for (const std::string& number : numbers)
      read_number(need(item, number, key), key + "." + number, 0, 1e12);
    for (const std::string& text : texts)
      read_text(need(item, text, key), key + "." + text, "text");
  }
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
  std::vector<std::string> keys{"name",  "arch",     "all_reduce", "measured_by",
                                "reads", "products", "layers"};
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
  if (const YamlNode* node = find_key(root, "measured_by"))
    read_text(*node, "measured_by", "fselab's revision and the driver");
  if (const YamlNode* node = find_key(root, "reads"))
    check_points(*node, "reads", {"workgroups", "footprint_mb", "gbs", "low", "high"}, {"cached"});
  if (const YamlNode* node = find_key(root, "products"))
    check_points(*node, "products", {"tokens", "n", "k", "tflops", "low", "high"}, {"op"});
  if (const YamlNode* node = find_key(root, "layers"))
    check_points(*node, "layers", {"tokens", "experts", "early", "us", "low", "high", "busy_us"},
                 {"dtype", "variant"});
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
