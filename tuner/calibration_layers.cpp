#include <algorithm>
#include <utility>

#include "core/layer_cost.h"
#include "tuner/calibration.h"
#include "tuner/calibration_tiles.h"
#include "tuner/calibration_values.h"
#include "tuner/calibration_ways.h"

namespace fse {
namespace {

bool begins_early(const Choice& choice) {
  const auto& axes = choice.tile.axes;
  return std::find(axes.begin(), axes.end(), std::pair<std::string, int>("dependent", 1)) !=
         axes.end();
}

std::vector<Choice> with_dependent(std::vector<Choice> choices, const LayerPlan& plan,
                                   const DeviceInfo& info, int dependent) {
  for (size_t i = 0; i < choices.size(); ++i) {
    Choice changed = choices[i];
    for (auto& [axis, value] : changed.tile.axes)
      if (axis == "dependent") value = dependent;
    if (changed.kernel->fits(changed.tile, plan, plan.steps[i], info).empty()) choices[i] = changed;
  }
  return choices;
}

class LayerCalibration {
 public:
  LayerCalibration(Workbench& bench, const CalibrationSpec& spec, Calibration& result)
      : bench_(bench), spec_(spec), result_(result) {}

  void add(DType dtype, int tokens, std::initializer_list<Way> ways,
           int experts = kCalibratedExperts) {
    const DeviceInfo& info = bench_.device();
    Case at{.layer = small_layer(info, spec_, dtype, experts), .tokens = tokens, .routing = {}};
    at.device = info.name;
    const int sets =
        plan_rotation(at.layer, measured_shard(at.layer, 1), info, Cache::cold_weights).sets;
    bench_.set_workload({.spec = at, .sets = sets, .rounds = 2});
    for (const Way& way : ways) {
      const Variant variant = variant_of(way, info);
      if (!check(at.layer, variant, info).empty()) continue;
      measure({.dtype = dtype, .variant = variant, .tokens = tokens, .experts = experts});
    }
  }

 private:
  // With each step's tile that is fastest alone; or with the same, all of them begun early, where
  // the layer is faster so; and once with none begun early.
  void measure(LayerPoint point) {
    const DeviceInfo& info = bench_.device();
    const LayerPlan plan = plan_of(point, info, spec_);
    std::vector<Choice> alone = default_choices(plan, info);
    const auto runner = bench_.open(point.variant);
    for (size_t i = 0; i < plan.steps.size(); ++i)
      alone[i] = fastest_choice(*runner, plan, i, alone, info);
    const std::vector<Choice> early = with_dependent(alone, plan, info, 1);
    const std::vector<Choice> plain = with_dependent(alone, plan, info, 0);
    point.load = runner->load(alone, 0);
    int set = 0;
    const auto add = [&](const std::vector<Choice>& choices) {
      point.us = repeated(spec_.repeats, [&] { return runner->run(choices, 0, set++).layer_us; });
      point.early = static_cast<int>(std::count_if(choices.begin(), choices.end(), begins_early));
      result_.layers.push_back(point);
    };
    add(alone);
    if (early != alone) {
      const LayerPoint first = result_.layers.back();
      result_.layers.pop_back();
      add(early);
      if (first.us.median < point.us.median) result_.layers.back() = first;
    }
    if (early != plain && point.tokens == 1) add(plain);
  }

  Workbench& bench_;
  const CalibrationSpec& spec_;
  Calibration& result_;
};

}  // namespace

void calibrate_layers(Workbench& bench, const CalibrationSpec& spec, Calibration& result) {
  const DeviceInfo& info = bench.device();
  LayerCalibration layers(bench, spec, result);
  const auto has = [&](DType dtype) {
    return std::find(info.dtypes.begin(), info.dtypes.end(), dtype) != info.dtypes.end();
  };
  layers.add(DType::bf16, 1, {kUnfused, kSeparate, kMlp, kOverlapped, kSlot, kOneLaunch});
  if (info.kind != "cpu") layers.add(DType::bf16, 1, {kUnfused, kSlot, kOneLaunch}, kManyExperts);
  if (info.kind != "cpu")
    for (const int tokens : {4, 16, 64})
      layers.add(DType::bf16, tokens, {kMlp, kOverlapped, kSlot, kOneLaunch});
  if (has(DType::fp8_block128) && info.kind != "cpu")
    for (const int tokens : {1, 4, 16, 64})
      layers.add(DType::fp8_block128, tokens, {kMlp, kOverlapped, kSlot, kOneLaunch});
  derive_steps(info, spec, result);
}

}  // namespace fse
