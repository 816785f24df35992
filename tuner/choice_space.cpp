#include "tuner/choice_space.h"

#include <algorithm>
#include <map>

#include "core/error.h"

namespace fse {
namespace {

bool kept(const Choice& choice, const Step& step, const std::vector<TileRestriction>& tiles) {
  return std::all_of(tiles.begin(), tiles.end(), [&](const TileRestriction& r) {
    if (r.target != to_name(step.op) && r.target != choice.kernel->name) return true;
    for (const auto& [axis, value] : choice.tile.axes)
      if (axis == r.axis)
        return std::find(r.values.begin(), r.values.end(), value) != r.values.end();
    return true;  // a kernel without that axis is not restricted by it
  });
}

// A recorded tile may be of a kernel that had other axes.
bool has_its_axes(const Choice& choice) {
  return std::equal(choice.tile.axes.begin(), choice.tile.axes.end(), choice.kernel->axes.begin(),
                    choice.kernel->axes.end(),
                    [](const auto& own, const Axis& axis) { return own.first == axis.name; });
}

std::vector<double> predictions(const std::vector<Choice>& all, const LayerPlan& plan,
                                const Step& step, const DeviceInfo& device) {
  std::vector<double> predicted_us;
  for (const Choice& choice : all) {
    if (!choice.kernel->predicted_us || !has_its_axes(choice)) return {};
    predicted_us.push_back(choice.kernel->predicted_us(choice.tile, plan, step, device));
  }
  return predicted_us;
}

}  // namespace

std::vector<Choice> candidates(const LayerPlan& plan, const Step& step, const DeviceInfo& device,
                               const std::vector<TileRestriction>& restrictions) {
  std::vector<Choice> all;
  for (const KernelDef* kernel : kernels_for(plan, step, device))
    for (Tile& tile : tiles(*kernel, plan, step, device)) {
      Choice choice{kernel, std::move(tile)};
      if (all.empty() || kept(choice, step, restrictions)) all.push_back(std::move(choice));
    }
  check(!all.empty(), "every op has a kernel whose default tile fits");
  return all;
}

SearchSpace space_of(const std::vector<Choice>& all, const LayerPlan& plan, const Step& step,
                     const DeviceInfo& device) {
  SearchSpace space{.axes = {"kernel"}};
  std::map<std::string, int> kernels;
  for (const Choice& choice : all) {
    kernels.emplace(choice.kernel->name, static_cast<int>(kernels.size()));
    for (const auto& [axis, value] : choice.tile.axes)
      if (std::find(space.axes.begin(), space.axes.end(), axis) == space.axes.end())
        space.axes.push_back(axis);
  }
  for (const Choice& choice : all) {
    std::vector<int> point(space.axes.size(), -1);
    point[0] = kernels.at(choice.kernel->name);
    for (const auto& [axis, value] : choice.tile.axes)
      point[static_cast<size_t>(std::find(space.axes.begin(), space.axes.end(), axis) -
                                space.axes.begin())] = value;
    space.points.push_back(point);
  }
  space.predicted_us = predictions(all, plan, step, device);
  return space;
}

}  // namespace fse
