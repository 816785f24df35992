#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "experiments/sweep.h"
#include "experiments/yaml_tree.h"

// The values of a sweep's keys. `folder` is where relative paths of the file start.
namespace fse {

std::string read_study(const YamlNode&);
std::string read_device(const YamlNode&);
std::vector<int> read_tp(const YamlNode&, const std::string& key);
ModelEntry read_model(const YamlNode&, const std::filesystem::path& folder);
RoutingDistribution read_routing(const YamlNode&, const std::filesystem::path& folder);
VariantAxes read_variants(const YamlNode&);
BaselineSpec read_baseline(const YamlNode&);
TuneSpec read_tune(const YamlNode* tune, const YamlNode* tiles);  // nullptr: the key is left out
MeasureSpec read_measure(const YamlNode&);
ServingSpec read_serving(const YamlNode&);

}  // namespace fse
