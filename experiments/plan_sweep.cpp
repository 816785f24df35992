#include "experiments/plan_sweep.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/counted.h"
#include "experiments/device_choice.h"
#include "experiments/estimate.h"
#include "experiments/paths.h"
#include "experiments/workload_group.h"
#include "reports/table.h"

namespace fse {
namespace {

// Three digits, and never an exponent: 0.0123, 12.3, 12345.
std::string short_number(double value) {
  return value >= 100 || value == 0 ? fmt::format("{:.0f}", value) : fmt::format("{:.3g}", value);
}

std::string megabytes(double bytes) {
  return short_number(bytes / 1e6);
}

std::string duration(double seconds) {
  if (seconds < 90) return fmt::format("{:.0f} s", std::ceil(seconds));
  if (seconds < 5400) return fmt::format("{:.0f} min", std::ceil(seconds / 60));
  return fmt::format("{:.1f} h", seconds / 3600);
}

std::string workload_name(const Case& spec) {
  return fmt::format("{} {}{} tp={} tokens={} routing={} seed={}", spec.layer.model,
                     to_name(spec.layer.dtype),
                     spec.layer.activations == Activations::fp8 ? " activations=fp8" : "", spec.tp,
                     spec.tokens, to_text(spec.routing), spec.seed);
}

std::string buffer_names(const std::vector<Buf>& buffers) {
  std::vector<std::string> names;
  for (const Buf id : buffers) names.push_back(to_name(id));
  return fmt::format("{}", fmt::join(names, " "));
}

void print_steps(const CaseEstimate& c) {
  fmt::print("\nsteps of {}\n", to_text(c.record.spec.variant));
  Table table{.titles = {"#", "<step", "<op", "<after", "MB", "MFLOP", "floor us", "tiles",
                         "<reads", "<writes"}};
  for (size_t i = 0; i < c.steps.size(); ++i) {
    const Step& step = c.plan.steps[i];
    const StepEstimate& estimate = c.steps[i];
    table.rows.push_back({std::to_string(i), step.name, to_name(step.op),
                          fmt::format("{}", fmt::join(step.after, " ")),
                          megabytes(estimate.work.bytes), megabytes(estimate.work.flops),
                          short_number(estimate.floor_us), std::to_string(estimate.tiles),
                          buffer_names(step.reads), buffer_names(step.writes)});
  }
  fmt::print("{}", to_markdown(table));
}

std::string remark(const CaseEstimate& c) {
  std::string text = c.record.baseline ? "baseline" : "";
  if (!c.out_of_memory.empty())
    text += (text.empty() ? "" : "; ") + ("out of memory: " + c.out_of_memory);
  return text;
}

void print_counts(const SweepSpec& sweep, const Expansion& expansion,
                  const std::vector<WorkloadEstimate>& workloads, const DeviceInfo& device) {
  int64_t runs = 0, refused = 0, too_large = 0;
  for (const WorkloadEstimate& workload : workloads)
    for (const CaseEstimate& c : workload.cases)
      ++(c.runs() ? runs : c.out_of_memory.empty() ? refused : too_large);
  fmt::print("{}: {} in {} on {} ({}): {} to run, {} refused{}; plan {}\n", sweep.study,
             counted(static_cast<int64_t>(expansion.cases.size()), "case"),
             counted(static_cast<int64_t>(workloads.size()), "workload"), device.name, device.arch,
             runs, refused, too_large == 0 ? "" : fmt::format(", {} out of memory", too_large),
             expansion.plan_hash);
}

void print_workload(const WorkloadEstimate& workload, bool steps) {
  const auto refused =
      std::count_if(workload.cases.begin(), workload.cases.end(),
                    [](const CaseEstimate& c) { return c.record.state == CaseState::refused; });
  fmt::print("\n{}{}\n", workload_name(workload.cases.front().record.spec),
             refused == 0 ? "" : fmt::format(" ({} refused)", counted(refused, "variant")));
  if (refused == static_cast<ptrdiff_t>(workload.cases.size())) return;
  Table table{.titles = {"<variant", "launches", "MB", "MFLOP", "floor us", "buffers MB",
                         "tiles to try", "<"}};
  for (const CaseEstimate& c : workload.cases) {
    const std::string label = to_label(c.record.spec.variant);
    if (c.record.state == CaseState::refused) continue;  // print_refusals() says why
    table.rows.push_back({label, std::to_string(c.plan.steps.size()), megabytes(c.bytes()),
                          megabytes(c.flops()), short_number(c.floor_us()),
                          megabytes(static_cast<double>(buffer_bytes(c.plan))),
                          std::to_string(c.tiles()), remark(c)});
  }
  fmt::print("{}", to_markdown(table));
  if (!steps) return;
  for (const CaseEstimate& c : workload.cases)
    if (c.record.state != CaseState::refused) print_steps(c);
}

// One line per reason and model, however many cases it concerns.
void print_refusals(const Expansion& expansion) {
  std::map<std::string, int> lines;
  std::vector<std::string> order;
  for (const CaseRecord& record : expansion.cases) {
    if (record.state != CaseState::refused) continue;
    const std::string line =
        fmt::format("{} {} tp={}: {}", record.spec.layer.model, to_name(record.spec.layer.dtype),
                    record.spec.tp, record.reason);
    if (lines[line]++ == 0) order.push_back(line);
  }
  if (!order.empty()) fmt::print("\n");
  for (const std::string& line : order)
    fmt::print("refused: {} ({})\n", line, counted(lines[line], "case"));
}

void print_memory(const std::vector<WorkloadEstimate>& workloads, const DeviceInfo& device) {
  std::map<std::string, const WorkloadEstimate*> largest;  // per layer and shard
  for (const WorkloadEstimate& w : workloads) {
    const Case& spec = w.cases.front().record.spec;
    const WorkloadEstimate*& most =
        largest[fmt::format("{} {} tp={}", spec.layer.model, to_name(spec.layer.dtype), spec.tp)];
    if (w.memory.sets > 0 && (!most || w.memory.total() > most->memory.total())) most = &w;
  }
  fmt::print("\nmemory, of {} on {}\n", gigabytes(device.memory_bytes), device.name);
  for (const auto& [name, workload] : largest) {
    if (workload == nullptr) continue;
    const MemoryEstimate& m = workload->memory;
    fmt::print("  {}: {} = weights {} (one set {}, {} sets rotated), buffers {}, reference {}{}\n",
               name, gigabytes(m.total()), gigabytes(m.weight_bytes), gigabytes(m.one_set_bytes),
               m.sets, gigabytes(m.buffer_bytes), gigabytes(m.reference_bytes),
               m.total() > device.memory_bytes ? "; does not fit" : "");
  }
}

void print_totals(const SweepSpec& sweep, const std::vector<WorkloadEstimate>& workloads,
                  const Rates& rates) {
  TimeEstimate time;
  int64_t tiles = 0;
  for (const WorkloadEstimate& w : workloads) {
    time.prepare_s += w.time.prepare_s;
    time.tune_s += w.time.tune_s;
    time.measure_s += w.time.measure_s;
    for (const CaseEstimate& c : w.cases) tiles += c.tiles();
  }
  if (sweep.tune.strategy == Strategy::none) tiles = 0;
  fmt::print(
      "\ntime, at {:.1f} GB/s read and {:.0f} GFLOP/s: about {} (weights and reference {}, "
      "tuning {} for up to {}, measuring {})\n",
      rates.read_gbs, rates.peak_gflops, duration(time.total()), duration(time.prepare_s),
      duration(time.tune_s), counted(tiles, "tile"), duration(time.measure_s));
}

}  // namespace

void plan_sweep(const PlanOptions& options) {
  const SweepSpec sweep = read_sweep(options.sweep, options.overrides);
  require_measured_device(sweep.device);
  const auto backend = open_device(sweep.device);
  const DeviceInfo& device = backend->device();
  const Expansion expansion = expand(sweep, device, configs_dir());
  const Rates rates{.read_gbs = backend->measure_read_gbs(),
                    .peak_gflops = backend->measure_peak_gflops()};
  const std::vector<WorkloadEstimate> workloads = estimate(sweep, expansion, device, rates);
  print_counts(sweep, expansion, workloads, device);
  for (const std::string& note : expansion.notes) fmt::print("{}\n", note);
  for (const WorkloadEstimate& workload : workloads) print_workload(workload, options.steps);
  print_refusals(expansion);
  print_memory(workloads, device);
  print_totals(sweep, workloads, rates);
}

}  // namespace fse
