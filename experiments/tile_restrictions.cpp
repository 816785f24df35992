#include "experiments/tile_restrictions.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "core/error.h"
#include "core/nearest.h"
#include "kernels/catalog.h"

namespace fse {
namespace {

std::vector<const KernelDef*> targets_of(const TileRestriction& restriction,
                                         const std::string& device_kind) {
  std::vector<std::string> names;
  std::vector<const KernelDef*> targets;
  for (const KernelDef& kernel : catalog()) {
    // One sweep for several devices may name a kernel of each.
    if (kernel.device != device_kind && kernel.name != restriction.target) continue;
    names.push_back(kernel.name);
    if (restriction.target == kernel.name || restriction.target == to_name(kernel.op))
      targets.push_back(&kernel);
  }
  if (!targets.empty()) return targets;
  fail_usage(fmt::format("{}: tiles: {} has no kernel '{}', expected an op or a kernel's name{}",
                         restriction.where, device_kind, restriction.target,
                         did_you_mean(restriction.target, names)));
}

void require_known(const TileRestriction& restriction, const std::string& device_kind) {
  std::vector<std::string> axes;
  std::set<int> values;
  for (const KernelDef* kernel : targets_of(restriction, device_kind))
    for (const Axis& axis : kernel->axes) {
      if (std::find(axes.begin(), axes.end(), axis.name) == axes.end()) axes.push_back(axis.name);
      if (axis.name == restriction.axis) values.insert(axis.values.begin(), axis.values.end());
    }
  if (values.empty())
    fail_usage(fmt::format("{}: tiles: {} on {} has no axis '{}', expected one of {}{}",
                           restriction.where, restriction.target, device_kind, restriction.axis,
                           fmt::join(axes, ", "), did_you_mean(restriction.axis, axes)));
  for (const int value : restriction.values)
    if (values.count(value) == 0)
      fail_usage(fmt::format("{}: tiles: {}.{} is {}, expected some of {}", restriction.where,
                             restriction.target, restriction.axis, value, fmt::join(values, ", ")));
}

}  // namespace

void require_known_tiles(const TuneSpec& tune, const std::string& device_kind) {
  for (const TileRestriction& restriction : tune.tiles) require_known(restriction, device_kind);
}

}  // namespace fse
