#include "experiments/config_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"
#include "core/nearest.h"
#include "core/read_file.h"
#include "core/strict_json.h"
#include "experiments/yaml_reader.h"

namespace fse {

namespace fs = std::filesystem;

fs::path find_config(const std::string& name, const std::string& missing, const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == ".yaml") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  if (std::find(names.begin(), names.end(), name) == names.end())
    fail_usage(fmt::format("{}, expected one of {}{}", missing, fmt::join(names, ", "),
                           did_you_mean(name, names)));
  return folder / (name + ".yaml");
}

std::string read_config(const fs::path& file) {
  return read_file(file).value_or("");
}

const YamlNode& need(const YamlNode& map, const std::string& key, const std::string& of) {
  const YamlNode* node = find_key(map, key);
  if (node == nullptr) fail_usage(fmt::format("{}: {} has no '{}'", map.where, of, key));
  return *node;
}

void require_map_kind(const YamlNode& node, const std::string& key) {
  if (node.kind != YamlNode::Kind::map) fail_value(node, key, "a map");
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

RoutingPrior read_prior(const YamlNode& node, const std::string& key) {
  const std::string expected = "uniform, zipf(0 to 4), power_law(0.1 to 100) or correlated(0 to 1)";
  const std::string text = read_text(node, key, expected);
  if (text == to_name(PriorKind::uniform)) return {};
  const std::optional<Call> call = parse_call(text);
  if (!call || call->arguments.size() != 1) fail_value(node, key, expected);
  const auto kind = from_name<PriorKind>(call->name);
  const auto parameter = parse_number(call->arguments[0]);
  const auto within = [&](PriorKind of, double low, double high) {
    return kind == of && parameter && *parameter >= low && *parameter <= high;
  };
  if (!within(PriorKind::zipf, 0, 4) && !within(PriorKind::power_law, 0.1, 100) &&
      !within(PriorKind::correlated, 0, 1))
    fail_value(node, key, expected);
  return {.kind = *kind, .parameter = *parameter, .counts = {}};
}

}  // namespace fse
