#include "experiments/simulate_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/model_import.h"
#include "core/routing_prior.h"
#include "core/serving_model.h"
#include "core/uncertainty.h"
#include "core/what_if.h"
#include "experiments/device_reader.h"
#include "experiments/framework_reader.h"
#include "experiments/kernel_table.h"
#include "experiments/paths.h"
#include "experiments/simulate_layers.h"
#include "experiments/sweep.h"
#include "experiments/yaml_tree.h"

namespace fse {
namespace {

namespace fs = std::filesystem;

Variant baseline_of(Variant v, const BaselineSpec& base, const LayerSpec& layer) {
  v.gate = base.gate.value_or(v.gate);
  v.topk = base.topk.value_or(v.topk);
  v.shared = layer.has_shared() ? base.shared.value_or(v.shared) : Shared::none;
  v.experts = base.experts.value_or(v.experts);
  v.launch = base.launch.value_or(v.launch);
  return v;
}

std::vector<Variant> variants_of(const SweepSpec& spec, const LayerSpec& layer,
                                 const DeviceInfo& info) {
  std::vector<Variant> all;
  const auto add = [&](Variant v) {
    if (!layer.has_shared()) v.shared = Shared::none;
    if (!check(layer, v, info).empty()) return;
    if (std::find(all.begin(), all.end(), v) == all.end()) all.push_back(v);
  };
  const std::vector<Launch> launches =
      spec.variants.launch.empty() ? std::vector{Launch::graph} : spec.variants.launch;
  for (const Gate gate : spec.variants.gate)
    for (const Topk topk : spec.variants.topk)
      for (const Shared shared : spec.variants.shared)
        for (const Launch launch : launches) {
          const Variant v{gate, topk, shared, Experts::staged, launch};
          add(baseline_of(v, spec.baseline, layer));
          add(v);
        }
  return all;
}

void print_row(const ServingCase& c, const std::string& model, const ServingTimes& times,
               double gain, const Interval& interval, bool json) {
  if (json) {
    const nlohmann::ordered_json row{{"model", model},
                                     {"tp", c.tp},
                                     {"isl", c.isl},
                                     {"osl", c.osl},
                                     {"concurrency", c.concurrency},
                                     {"variant", to_label(c.variant)},
                                     {"dtype", to_name(c.layer.dtype)},
                                     {"ttft_mean_ms", times.ttft_mean_ms},
                                     {"tpot_mean_ms", times.tpot_mean_ms},
                                     {"tpot_p99_ms", times.tpot_p99_ms},
                                     {"output_tok_s", times.output_tok_s},
                                     {"total_tok_s", times.total_tok_s},
                                     {"gain_percent", gain},
                                     {"gain_low", interval.low},
                                     {"gain_high", interval.high}};
    fmt::print("{}\n", row.dump());
    return;
  }
  fmt::print(
      "{:<24} {:>3} {:>6} {:>6} {:>5}  {:<42} {:>9.1f} {:>8.3f} {:>8.3f} {:>9.1f} {:>9.1f} "
      "{:>6.1f} [{:.1f}, {:.1f}]\n",
      model, c.tp, c.isl, c.osl, c.concurrency, to_label(c.variant), times.ttft_mean_ms,
      times.tpot_mean_ms, times.tpot_p99_ms, times.output_tok_s, times.total_tok_s, gain,
      interval.low, interval.high);
}

// The measured baseline and the predicted difference: what the model gets wrong of both variants
// alike does not matter. Times are per output token of each request in flight.
ServingTimes anchored(ServingTimes times, const ServingTimes& base, const Anchor& anchor,
                      const ServingCase& c) {
  const auto ms = [&](double rate) { return 1e3 * c.concurrency / rate; };
  const double measured = ms(anchor.output_tok_s), predicted = ms(base.output_tok_s);
  const double difference = ms(times.output_tok_s) - predicted;
  const double factor = ms(times.output_tok_s) / std::max(measured + difference, measured * 0.01);
  times.output_tok_s *= factor;
  times.total_tok_s *= factor;
  times.ttft_mean_ms *= measured / predicted;
  times.tpot_mean_ms /= factor;
  times.tpot_p99_ms /= factor;
  return times;
}

class Simulation {
 public:
  Simulation(const SweepSpec& spec, DeviceModel device, FrameworkModel framework,
             bool routing_stated, const SimulateOptions& options)
      : spec_(spec),
        device_(std::move(device)),
        framework_(std::move(framework)),
        routing_stated_(routing_stated),
        options_(options) {}

  void add_table(const fs::path& file) {
    const auto rows = tuned_rows(read_kernel_table(file), device_.compute_units);
    tuned_.insert(tuned_.end(), rows.begin(), rows.end());
  }

  void add_model(const ModelEntry& entry, const fs::path& configs, bool dtypes_stated) {
    const fs::path file =
        entry.path.empty() ? configs / "models" / (entry.name + ".json") : entry.path;
    LayerSpec layer = find_model(entry.path.empty() ? entry.name : file.string(), configs).layer;
    const ModelShape shape = read_model_shape(file);
    const DType usual = device_.fp8_tflops > 0 ? DType::fp8_block128 : DType::bf16;
    const std::vector<DType> dtypes = !entry.dtypes.empty() ? entry.dtypes
                                      : dtypes_stated       ? spec_.dtypes
                                                            : std::vector{usual};
    for (const DType dtype : dtypes)
      for (const int tp : entry.tp.empty() ? spec_.tp : entry.tp) {
        layer.dtype = dtype;
        make_shard(layer, tp, 0);  // refuses a degree that does not divide
        const std::vector<Variant> variants = variants_of(spec_, layer, info_of(device_));
        if (variants.empty())
          throw Refused(
              fmt::format("{}: no variant of the sweep is legal on {}", entry.name, device_.name));
        add_workloads({.shape = shape,
                       .layer = layer,
                       .tp = tp,
                       .prior = prior_for(layer),
                       .scales = spec_.serving->scales,
                       .prompts = spec_.serving->prompts,
                       .tuned = tuned_},
                      variants, entry.name);
      }
  }

 private:
  // What the sweep states, else what the random prompts of a benchmark choose.
  RoutingPrior prior_for(const LayerSpec& layer) const {
    return routing_stated_ ? prior_of(spec_.routing.front(), layer.routing)
                           : framework_.random_prompts;
  }

  void add_workloads(ServingCase c, const std::vector<Variant>& variants,
                     const std::string& model) {
    for (const int isl : spec_.serving->isl)
      for (const int osl : spec_.serving->osl)
        for (const int concurrency : spec_.serving->concurrency) {
          c.isl = isl;
          c.osl = osl;
          c.concurrency = concurrency;
          for (const Variant& v : variants) add_row(c, v, model);
        }
  }

  void add_row(ServingCase c, const Variant& v, const std::string& model) {
    c.variant = v;
    ServingCase base = c;
    base.variant = baseline_of(v, spec_.baseline, c.layer);
    ServingTimes times = simulate_serving(c, device_, framework_);
    const ServingTimes base_times =
        base.variant == v ? times : simulate_serving(base, device_, framework_);
    ServingTimes anchored_base = base_times;
    if (const Anchor* anchor = find_anchor(c, model)) {
      times = anchored(times, base_times, *anchor, c);
      anchored_base.output_tok_s = anchor->output_tok_s;
    }
    const double gain = gain_percent(times, anchored_base);
    const Interval interval =
        base.variant == v ? Interval{} : gain_interval(c, base, device_, framework_, gain);
    print_row(c, model, times, gain, interval, options_.json);
    if (options_.sensitivity && base.variant != v) print_sensitivity(c, base);
  }

  void print_sensitivity(const ServingCase& c, const ServingCase& base) const {
    const auto gain = [&](const DeviceModel& d) {
      return (closed_form_ms(base, d, framework_) / closed_form_ms(c, d, framework_) - 1) * 100;
    };
    const double centre = gain(device_);
    for (const Sensitivity& s : sensitivities(device_, gain))
      if (std::abs(s.high - centre) >= 0.05 || std::abs(s.low - centre) >= 0.05)
        fmt::print("    {:<14} {:>9.4g} {:<8} gain {:+.1f} to {:+.1f}\n", s.name, s.value, s.unit,
                   s.low, s.high);
  }

  const Anchor* find_anchor(const ServingCase& c, const std::string& model) const {
    for (const Anchor& a : spec_.serving->anchors)
      if (a.model == model && a.tp == c.tp && a.isl == c.isl && a.osl == c.osl &&
          a.concurrency == c.concurrency)
        return &a;
    return nullptr;
  }

  const SweepSpec& spec_;
  DeviceModel device_;
  FrameworkModel framework_;
  bool routing_stated_;
  std::vector<TunedRow> tuned_;
  const SimulateOptions& options_;
};

bool states(const SweepSpec& spec, const std::string& key) {
  const YamlNode root = parse_yaml(spec.yaml_text, "the sweep");
  return find_key(root, key) != nullptr;
}

}  // namespace

std::vector<std::string> named_device(std::vector<std::string> overrides) {
  for (std::string& text : overrides)
    if (text.starts_with("device=") && text.find(':') == std::string::npos)
      text = "device=sim:" + text.substr(7);
  return overrides;
}

void simulate_sweep(const SimulateOptions& options) {
  const fs::path configs = configs_dir();
  const SweepSpec spec =
      read_sweep(find_sweep(options.sweep, configs), named_device(options.overrides));
  const bool simulated = spec.device.starts_with("sim:");
  if (!simulated)
    fail_usage(
        fmt::format("device is '{}', expected a device model, e.g. device=mi355x", spec.device));
  DeviceModel device = find_device_model(spec.device.substr(4), configs);
  FrameworkModel framework;
  if (spec.serving) framework = find_framework(spec.serving->framework, configs);
  apply_what_if(options.what_if, device, framework);
  if (!spec.serving) return simulate_layers(spec, device, configs, options.json);
  Simulation simulation(spec, device, framework, states(spec, "routing"), options);
  for (const std::string& table : spec.serving->tables)
    simulation.add_table(fs::exists(table) ? fs::path(table) : configs / "validation" / table);
  if (!options.json)
    fmt::print(
        "Predicted, not measured. Columns: model, tp, isl, osl, concurrency, variant, TTFT "
        "mean ms, TPOT mean ms, TPOT p99 ms, output tok/s, total tok/s, gain % [90 %]\n");
  for (const ModelEntry& entry : spec.models)
    simulation.add_model(entry, configs, states(spec, "dtypes"));
}

}  // namespace fse
