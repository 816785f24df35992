#pragma once
#include <string>
#include <vector>

#include "experiments/yaml_tree.h"

namespace fse {

// Sets KEY=VALUE in the sweep, the key dotted (variants.shared), the value YAML. A value replaces
// what the file says there as a whole; keys that the file leaves out are added. Throws Error(usage)
// "override 'KEY=VALUE': ...", also for a key set twice.
void apply_overrides(YamlNode& sweep, const std::vector<std::string>& overrides);

}  // namespace fse
