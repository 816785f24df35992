#include "experiments/explain_command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "core/routing_prior.h"
#include "core/store.h"
#include "core/strict_json.h"
#include "core/time_split.h"
#include "experiments/device_reader.h"
#include "experiments/explain_counts.h"
#include "experiments/paths.h"
#include "experiments/simulate_command.h"
#include "experiments/simulate_layers.h"
#include "experiments/sweep.h"
#include "reports/table.h"

namespace fse {
namespace {

namespace fs = std::filesystem;

// A case with a time, measured or not, and what it is split by.
struct Explained {
  Case spec;
  std::string how;  // "measured on ..., attempt 17", "simulated on ..."
  DeviceModel device;
  TimeSplit split;
  std::vector<StepTime> measured;       // parallel to the plan's steps; empty where nothing was
  std::vector<StepCounts> counts = {};  // of the measured kernels, where an emulator counted them
};

// The only case among these whose id begins so.
const Case& choose(const std::vector<Case>& cases, const std::string& id, const std::string& hint) {
  const Case* found = nullptr;
  std::vector<std::string> ids;
  for (const Case& c : cases) {
    if (!case_id(c).starts_with(id)) continue;
    if (ids.empty() || ids.back() != case_id(c)) ids.push_back(case_id(c));
    found = &c;
  }
  if (found == nullptr)
    fail_usage(fmt::format("case '{}': there is none, {}", printable(id), hint));
  if (ids.size() > 1) {
    const size_t n = ids.size();
    ids.resize(std::min<size_t>(n, 4));
    fail_usage(fmt::format("case '{}': {} begin so, expected more of one: {}{}", printable(id), n,
                           fmt::join(ids, ", "), n > 4 ? ", ..." : ""));
  }
  return *found;
}

BatchLoad batch_of(const LayerPlan& plan, const DeviceModel& device, const Case& c,
                   const std::vector<int64_t>& histogram) {
  if (histogram.size() == static_cast<size_t>(plan.expert_count()))
    return realised_batch(device, {.rows_per_expert = histogram});
  return expected_batch(plan, device, prior_of(c.routing, c.layer.routing));
}

// The file of configs/devices for the same architecture and number of compute units, of the
// nearest memory; the cpu's with what this very machine was measured to do.
DeviceModel model_of(const Environment& e, const AttemptRecord& attempt, const fs::path& configs) {
  const bool cpu = e.device.kind == "cpu";
  std::optional<DeviceModel> best;
  const double memory = static_cast<double>(e.device.memory_bytes) / 1e9;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(configs / "devices", error)) {
    if (entry.path().extension() != ".yaml") continue;
    const DeviceModel d = find_device_model(entry.path().stem().string(), configs);
    const bool fits = cpu ? d.arch == "cpu"
                          : d.arch == e.device.arch && d.compute_units == e.device.compute_units;
    if (!fits) continue;
    if (!best || std::abs(d.memory_gb - memory) < std::abs(best->memory_gb - memory)) best = d;
  }
  if (!best)
    fail_usage(
        fmt::format("device '{}' ({}, {} units) has no model, expected --model NAME; "
                    "fselab calibrate makes one",
                    e.device.product, e.device.arch, e.device.compute_units));
  if (!cpu) return *best;
  best->compute_units = e.device.compute_units;
  best->llc_mb = static_cast<double>(e.device.llc_bytes) / 1e6;
  best->read_gbs = best->peak_gbs = attempt.read_gbs;
  best->bf16_tflops = attempt.peak_gflops / 1e3;
  // All of its threads together draw what was measured, and half of them nearly as much.
  best->workgroup_gbs = std::max(best->workgroup_gbs, 2 * best->read_gbs / best->compute_units);
  return *best;
}

struct Found {
  AttemptRecord attempt;
  Environment environment;
};

// Its newest verified time, whichever study that belongs to.
Found newest_result(const Store& store, const std::string& id) {
  const auto studies = store.studies();
  std::string why = "not measured yet";
  for (auto study = studies.rbegin(); study != studies.rend(); ++study) {
    if (const auto result = store.layer_result(study->id, id))
      return {*result, store.environment(result->environment)};
    for (const CaseRecord& record : store.cases(study->id))
      if (case_id(record.spec) == id && !record.reason.empty()) why = record.reason;
  }
  fail_usage(fmt::format("case {} has no verified layer time, expected one that has: {}", id, why));
}

Explained explain_measured(const ExplainOptions& options, const fs::path& configs) {
  const Store store = Store::open_read_only(options.db);
  std::vector<Case> cases;
  for (const auto& study : store.studies())
    for (const CaseRecord& record : store.cases(study.id)) cases.push_back(record.spec);
  const Case c = choose(cases, options.id, "fselab db ls --cases --db FILE lists them");
  const Found found = newest_result(store, case_id(c));
  const AttemptRecord& attempt = found.attempt;
  const DeviceModel device = options.model.empty() ? model_of(found.environment, attempt, configs)
                                                   : find_device_model(options.model, configs);
  const LayerPlan plan = make_plan(c, found.environment.device);
  const Summary& us = attempt.time_us;
  const bool interval = std::isfinite(us.lo) && std::isfinite(us.hi);
  const Interval total = interval ? Interval{us.lo, us.hi} : Interval{us.median, us.median};
  return {.spec = c,
          .how = fmt::format("measured on {}, attempt {}", found.environment.device.product,
                             attempt.id),
          .device = device,
          .split = split_time(plan, device, batch_of(plan, device, c, attempt.load_histogram),
                              us.median, total, c.cache == Cache::warm),
          .measured = attempt.steps,
          .counts = counts_of(store, plan, attempt, found.environment.device.arch)};
}

Explained explain_simulated(const ExplainOptions& options, const fs::path& configs) {
  const SweepSpec spec =
      read_sweep(find_sweep(options.sweep, configs), named_device(options.overrides));
  if (!spec.device.starts_with("sim:"))
    fail_usage(
        fmt::format("device is '{}', expected a device model, e.g. device=mi355x", spec.device));
  const std::string name = options.model.empty() ? spec.device.substr(4) : options.model;
  const DeviceModel device = find_device_model(name, configs);
  const DeviceInfo info = info_of(device);
  std::vector<Case> cases;
  for (const CaseRecord& record : expand(spec, info, configs).cases)
    if (record.state == CaseState::pending) cases.push_back(record.spec);
  const Case c =
      choose(cases, options.id, "fselab simulate SWEEP lists those of the sweep, with their ids");
  const LayerPlan plan = make_plan(c, info);
  const BatchLoad batch = batch_of(plan, device, c, {});
  const double us = end_us(layer_cost(plan, device, batch));
  return {.spec = c,
          .how = "simulated on " + device.name,
          .device = device,
          .split = split_time(plan, device, batch, us, {us, us})};
}

struct Part {
  const char *name, *what;
  double TimeSplit::*us;
};
constexpr Part kParts[] = {
    {"weights", "at the memory's rate", &TimeSplit::weights_us},
    {"activations", "between steps, from the last-level cache where they fit",
     &TimeSplit::activations_us},
    {"math", "matrix work and widening that the memory does not hide", &TimeSplit::math_us},
    {"launches", "and ramps, waiting of blocks", &TimeSplit::launches_us},
    {"imbalance", "experts' rows that do not fill the matrix unit", &TimeSplit::imbalance_us},
    {"tail", "memory not kept busy: few workgroups, tiles", &TimeSplit::tail_us},
    {"streams", "two streams: what they hide, less what they cost", &TimeSplit::streams_us},
    {"residual", "what nothing above explains", &TimeSplit::residual_us}};

void print_json(const Explained& e) {
  const TimeSplit& s = e.split;
  nlohmann::ordered_json out{{"case", case_id(e.spec)},
                             {"model", e.spec.layer.model},
                             {"tokens", e.spec.tokens},
                             {"variant", to_label(e.spec.variant)},
                             {"how", e.how},
                             {"device_model", e.device.name},
                             {"layer_time_us", s.total_us},
                             {"predicted_us", s.predicted_us},
                             {"predicted_low_us", s.interval.low},
                             {"predicted_high_us", s.interval.high},
                             {"floor_us", s.floor_us},
                             {"impossible", s.impossible}};
  for (const Part& part : kParts) out[std::string(part.name) + "_us"] = s.*part.us;
  for (size_t i = 0; i < s.steps.size(); ++i) {
    const StepCost& step = s.steps[i];
    nlohmann::ordered_json row{{"step", step.name},
                               {"predicted_us", step.launch_us + step.busy_us()},
                               {"weights_us", step.weights_us},
                               {"activations_us", step.activations_us},
                               {"math_us", step.math_us},
                               {"launches_us", step.launch_us},
                               {"imbalance_us", step.imbalance_us},
                               {"tail_us", step.tail_us}};
    if (i < e.measured.size()) row["measured_us"] = e.measured[i].time_us.median;
    out["steps"].push_back(std::move(row));
  }
  for (const auto& [step, count] : e.counts)
    out["counters"].push_back({{"step", step},
                               {"declared_bytes", count.bytes},
                               {"loaded_bytes", static_cast<double>(count.counters.loaded_bytes)},
                               {"stored_bytes", static_cast<double>(count.counters.stored_bytes)},
                               {"declared_flops", count.flops},
                               {"matrix_flops", count.counters.matrix_flops},
                               {"lds_conflict_share", count.counters.conflict_share()},
                               {"divergent_share", count.counters.divergent_share()}});
  fmt::print("{}\n", out.dump());
}

std::string us_text(double us) {
  return fmt::format("{:.2f}", us);
}

void print_text(const Explained& e) {
  const TimeSplit& s = e.split;
  const Case& c = e.spec;
  fmt::print("case {}: {} {} tp={} tokens={} {}, {}\n\n", case_id(c), c.layer.model,
             to_name(c.layer.dtype), c.tp, c.tokens, to_label(c.variant), e.how);
  fmt::print("layer_time_us {:.2f}; predicted {:.2f} [{:.2f}, {:.2f}] by the numbers of {}\n\n",
             s.total_us, s.predicted_us, s.interval.low, s.interval.high, e.device.name);
  Table parts{.titles = {"<part", "us", "%", "<what"}};
  for (const Part& part : kParts) {
    if (part.us == &TimeSplit::streams_us && s.streams_us == 0) continue;
    parts.rows.push_back({part.name, us_text(s.*part.us),
                          fmt::format("{:.1f}", 100 * (s.*part.us) / s.total_us), part.what});
  }
  fmt::print("{}\n", to_markdown(parts));
  Table steps{.titles = {"<step", "measured alone", "predicted", "weights", "activations", "math",
                         "launches", "imbalance", "tail"}};
  for (size_t i = 0; i < s.steps.size(); ++i) {
    const StepCost& p = s.steps[i];
    steps.rows.push_back(
        {p.name, i < e.measured.size() ? us_text(e.measured[i].time_us.median) : "-",
         us_text(p.launch_us + p.busy_us()), us_text(p.weights_us), us_text(p.activations_us),
         us_text(p.math_us), us_text(p.launch_us), us_text(p.imbalance_us), us_text(p.tail_us)});
  }
  fmt::print("{}", to_markdown(steps));
  if (!e.counts.empty()) fmt::print("\n{}", to_markdown(e.counts));
  if (!s.impossible.empty()) fmt::print("\n{}\n", s.impossible);
}

}  // namespace

int explain_case(const ExplainOptions& options) {
  if (options.db.empty() == options.sweep.empty())
    fail_usage("expected --db FILE for a measured case, or --sweep SWEEP for a simulated one");
  if (!options.db.empty() && !options.overrides.empty())
    fail_usage(fmt::format("override '{}': a measured case has none, expected them with --sweep",
                           printable(options.overrides.front())));
  const fs::path configs = configs_dir();
  const Explained e =
      options.db.empty() ? explain_simulated(options, configs) : explain_measured(options, configs);
  options.json ? print_json(e) : print_text(e);
  return e.split.impossible.empty() ? 0 : 1;
}

}  // namespace fse
