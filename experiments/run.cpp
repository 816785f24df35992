#include "experiments/run.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <algorithm>
#include <map>
#include <optional>

#include "core/error.h"
#include "core/version.h"
#include "experiments/device_choice.h"
#include "experiments/interrupt.h"
#include "experiments/paths.h"
#include "experiments/sweep.h"
#include "experiments/worker_command.h"
#include "experiments/workload_group.h"
#include "reports/markdown.h"
#include "reports/report.h"

namespace fse {
namespace {

std::string host_os() {
  utsname name{};
  return uname(&name) == 0 ? fmt::format("{} {}", name.sysname, name.release) : "unknown";
}

std::string compilers(const Workbench& bench) {
  const std::string kernels = bench.kernel_toolchain();
  return fmt::format("{}{}{}", compiler_text(), kernels.empty() ? "" : "; ", kernels);
}

Environment describe_environment(Workbench& bench) {
  return {.device = bench.device(),
          .compiler = compilers(bench),
          .git_revision = std::string(git_revision()),
          .host_os = host_os(),
          .read_gbs = bench.measure_read_gbs(),
          .peak_gflops = bench.measure_peak_gflops()};
}

// Cases that share weights, and among them those that share a workload, in the sweep's order.
struct LayerGroup {
  LayerSpec layer;
  int tp = 1;
  uint64_t seed = 1;
  std::vector<WorkloadGroup> workloads;
};

std::vector<LayerGroup> group_pending(const std::vector<CaseRecord>& cases) {
  std::vector<LayerGroup> groups;
  std::map<std::string, size_t> layer_at;
  std::map<std::string, std::pair<size_t, size_t>> workload_at;
  for (const CaseRecord& record : cases) {
    if (record.state != CaseState::pending) continue;
    const Case& spec = record.spec;
    const std::string layer_key =
        fmt::format("{}tp={}\nseed={}\nmodel={}\n", canonical_text(spec.layer), spec.tp, spec.seed,
                    spec.layer.model);
    const std::string key =
        fmt::format("{}tokens={}\n{}", layer_key, spec.tokens, workload_key(spec));
    const auto [layer_it, new_layer] = layer_at.try_emplace(layer_key, groups.size());
    if (new_layer) groups.push_back({spec.layer, spec.tp, spec.seed, {}});
    LayerGroup& layer = groups[layer_it->second];
    const auto [it, new_workload] =
        workload_at.try_emplace(key, std::pair{layer_it->second, layer.workloads.size()});
    if (new_workload) layer.workloads.push_back({{}, measured_shard(spec.layer, spec.tp)});
    layer.workloads[it->second.second].cases.push_back(record);
  }
  return groups;
}

// Leaves only what fits into memory; the rest is recorded with both sizes.
void refuse_oversized(const RunContext& context, LayerGroup& group, int sets) {
  const DeviceInfo& device = context.bench.device();
  std::erase_if(group.workloads, [&](const WorkloadGroup& workload) {
    std::vector<LayerPlan> plans;
    for (const CaseRecord& record : workload.cases)
      plans.push_back(make_plan(record.spec.layer, workload.shard, record.spec.variant,
                                record.spec.tokens, device));
    const std::string why = out_of_memory(plans, device, sets);
    if (why.empty()) return false;
    for (const CaseRecord& record : workload.cases)
      fail_case(context, record.spec, {.status = Status::out_of_memory, .reason = why});
    return true;
  });
}

void run_layer(RunContext& context, LayerGroup group) {
  const DeviceInfo& device = context.bench.device();
  const Shard shard = measured_shard(group.layer, group.tp);
  const Rotation rotation = plan_rotation(group.layer, shard, device, context.measure.cache);
  context.ledger.rotation = rotation;
  context.ledger.cache = context.measure.cache;
  refuse_oversized(context, group, rotation.sets);
  if (group.workloads.empty()) return;
  for (const WorkloadGroup& workload : group.workloads) {
    context.ledger.workload = workload_key(workload.cases.front().spec);
    run_group(context, workload);
  }
}

int64_t count(const std::vector<CaseRecord>& cases, CaseState state) {
  return std::count_if(cases.begin(), cases.end(),
                       [&](const CaseRecord& record) { return record.state == state; });
}

// False when it was interrupted.
bool run_pending(Workbench& bench, const SweepSpec& spec, Store& store, int64_t study,
                 const RunOptions& options) {
  const std::vector<CaseRecord> cases = store.cases(study);
  const int64_t pending = count(cases, CaseState::pending);
  if (pending == 0) return true;
  const auto total = static_cast<int64_t>(cases.size()) - count(cases, CaseState::refused);
  Progress progress(total, total - pending, options.quiet);
  progress.activity("measuring the device's ceilings");
  const Environment environment = describe_environment(bench);
  RunContext context{.bench = bench,
                     .ledger = {.store = store,
                                .study = study,
                                .environment = store.add_environment(environment),
                                .workload = {},
                                .read_gbs = environment.read_gbs,
                                .peak_gflops = environment.peak_gflops},
                     .tune = spec.tune,
                     .measure = spec.measure,
                     .progress = progress};
  try {
    for (LayerGroup& group : group_pending(cases)) run_layer(context, std::move(group));
  } catch (const Error& error) {
    if (error.kind != ErrorKind::incomplete) throw;
    return false;
  }
  return true;
}

}  // namespace

int run_sweep(const RunOptions& options) {
  const std::filesystem::path configs = configs_dir();
  const SweepSpec spec = read_sweep(find_sweep(options.sweep, configs), options.overrides);
  const auto bench = options.in_process
                         ? open_workbench(open_device(spec.device))
                         : open_device_in_worker(spec.device, read_deadlines(options.deadlines));
  const Expansion expansion = expand(spec, bench->device(), configs);
  for (const std::string& note : expansion.notes) fmt::print(stderr, "{}\n", note);
  Store store = Store::create_or_open(options.db);
  if (!store.warning().empty()) fmt::print(stderr, "fselab: {}\n", store.warning());
  const int64_t study = store.add_study({.name = spec.study,
                                         .yaml_text = spec.yaml_text,
                                         .plan_hash = expansion.plan_hash,
                                         .command = options.command},
                                        expansion.cases);
  catch_interrupts();
  const bool complete = run_pending(*bench, spec, store, study, options);
  const std::vector<CaseRecord> cases = store.cases(study);
  fmt::print("{}", to_markdown(load_report(store, spec.study)));
  if (!complete) {
    fmt::print(stderr, "fselab: stopped with {} of {} cases pending; the same command resumes\n",
               count(cases, CaseState::pending), cases.size());
    return static_cast<int>(ErrorKind::incomplete);
  }
  return count(cases, CaseState::failed) > 0 ? 1 : 0;
}

}  // namespace fse
