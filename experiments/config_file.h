#pragma once
#include <filesystem>
#include <string>

#include "core/device_model.h"
#include "core/routing_model.h"
#include "experiments/yaml_tree.h"

// What the files of configs/devices and configs/frameworks have in common.
namespace fse {

// FOLDER/NAME.yaml. Throws Error(usage) "MISSING, expected one of ..." where there is none.
std::filesystem::path find_config(const std::string& name, const std::string& missing,
                                  const std::filesystem::path& folder);
std::string read_config(const std::filesystem::path& file);

// Throws Error(usage) "WHERE: OF has no 'KEY'" where it is missing; require_map_kind() also for
// what is no map.
const YamlNode& need(const YamlNode& map, const std::string& key, const std::string& of);
void require_map_kind(const YamlNode&, const std::string& key);

double read_number(const YamlNode&, const std::string& key, double low, double high);
// Of the map that holds source, date and kind.
Provenance read_provenance(const YamlNode& map, const std::string& key);
// uniform, zipf(1.2), power_law(1.5), correlated(0.3).
RoutingPrior read_prior(const YamlNode&, const std::string& key);

}  // namespace fse
