#include "experiments/score_layers.h"

#include <fmt/format.h>

#include <cmath>

#include "core/layer_cost.h"
#include "core/model_import.h"
#include "core/uncertainty.h"
#include "core/what_if.h"
#include "experiments/device_reader.h"
#include "experiments/simulate_layers.h"

namespace fse {
namespace {

// Each variant has kernels and tiles of its own: of the time of one against the other, a half
// width.
constexpr double kUnexplainedTime = 0.08;

const LayerRow* baseline_of(const LayerStudy& study, const LayerRow& row) {
  const Variant baseline{.launch = Launch::graph};
  if (row.variant == baseline) return nullptr;
  for (const LayerRow& other : study.rows)
    if (other.variant == baseline && other.dtype == row.dtype && other.tokens == row.tokens)
      return &other;
  return nullptr;
}

}  // namespace

SplitScore score_layers(const Split& split, const LayerStudy& study,
                        const std::filesystem::path& configs,
                        const std::vector<std::string>& what_if) {
  DeviceModel device = find_device_model(study.device, configs);
  FrameworkModel unused;
  apply_what_if(what_if, device, unused);
  LayerSpec layer = find_model(study.model, configs).layer;
  const auto plan_of = [&](const LayerRow& row) {
    layer.dtype = row.dtype;
    return make_plan(layer, measured_shard(layer, study.tp), row.variant, row.tokens,
                     info_of(device));
  };
  SplitScore score{.split = split, .unit = "us"};
  for (const LayerRow& row : study.rows) {
    const LayerPlan plan = plan_of(row);
    const auto us = [&](const DeviceModel& d) { return layer_us(plan, d, {}); };
    const std::string what =
        fmt::format("{} {} tokens={}", to_name(row.dtype), to_label(row.variant), row.tokens);
    score.values.push_back({what, {us(device), row.us, time_interval(device, us)}});
    const LayerRow* base = baseline_of(study, row);
    if (base == nullptr) continue;
    const LayerPlan base_plan = plan_of(*base);
    const auto gain = [&](const DeviceModel& d) {
      return (layer_us(base_plan, d, {}) / us(d) - 1) * 100;
    };
    const double centre = gain(device);
    const double half = std::hypot(spread_of(device, gain), (100 + centre) * kUnexplainedTime);
    score.gains.push_back(
        {.what = what,
         .value = {centre, (base->us / row.us - 1) * 100, {centre - half, centre + half}},
         .kind = fmt::format("{} {}", to_name(row.dtype), to_label(row.variant)),
         .size = double{1} * row.tokens});
  }
  return score;
}

}  // namespace fse
