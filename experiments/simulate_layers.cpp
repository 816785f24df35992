#include "experiments/simulate_layers.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "reports/prediction.h"

namespace fse {
namespace {

// All that two variants of one workload share.
std::string workload_of(Case c) {
  const Launch launch = c.variant.launch;
  c.variant = {.launch = launch};
  return canonical_text(c);
}

void print_row(const Case& c, const LayerPrediction& p, double baseline_us, bool json) {
  const double gain = baseline_us > 0 ? (baseline_us / p.us - 1) * 100 : 0;
  if (json) {
    const nlohmann::ordered_json row{{"case", case_id(c)},
                                     {"model", c.layer.model},
                                     {"dtype", to_name(c.layer.dtype)},
                                     {"tp", c.tp},
                                     {"routing", to_text(c.routing)},
                                     {"tokens", c.tokens},
                                     {"variant", to_label(c.variant)},
                                     {"layer_time_us", p.us},
                                     {"low_us", p.low_us},
                                     {"high_us", p.high_us},
                                     {"baseline_us", baseline_us},
                                     {"gain_percent", gain}};
    fmt::print("{}\n", row.dump());
    return;
  }
  fmt::print(
      "{:.8} {:<24} {:<12} {:>3} {:<10} {:>6}  {:<40} {:>9.1f} [{:.1f}, {:.1f}] {:>+7.1f} "
      "{:>+6.1f}\n",
      case_id(c), c.layer.model, to_name(c.layer.dtype), c.tp, to_text(c.routing), c.tokens,
      to_label(c.variant), p.us, p.low_us, p.high_us, baseline_us > 0 ? p.us - baseline_us : 0,
      gain);
}

}  // namespace

DeviceInfo info_of(const DeviceModel& device) {
  DeviceInfo info{.name = "sim:" + device.name, .kind = "sim", .arch = device.arch};
  info.dtypes = {DType::bf16};
  if (device.fp8_tflops > 0) info.dtypes.push_back(DType::fp8_block128);
  info.graph = true;
  info.experts_fused = device.arch.starts_with("gfx") || device.arch.starts_with("sm_");
  return info;
}

void simulate_layers(const SweepSpec& spec, const DeviceModel& device,
                     const std::filesystem::path& configs, bool json) {
  const DeviceInfo info = info_of(device);
  const Expansion expansion = expand(spec, info, configs);
  std::map<std::string, double> baselines;
  for (const CaseRecord& record : expansion.cases)
    if (record.baseline && record.state == CaseState::pending)
      baselines[workload_of(record.spec)] = predict(record.spec, info, device).us;
  if (!json)
    fmt::print(
        "Predicted, not measured. Columns: case, model, dtype, tp, routing, tokens, variant, "
        "layer_time_us [90 %], us over the baseline, gain %\n");
  for (const CaseRecord& record : expansion.cases) {
    if (record.state != CaseState::pending) continue;
    const auto found = baselines.find(workload_of(record.spec));
    print_row(record.spec, predict(record.spec, info, device),
              found == baselines.end() ? 0 : found->second, json);
  }
}

}  // namespace fse
