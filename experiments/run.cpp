#include "experiments/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <thread>

#include "core/counted.h"
#include "core/error.h"
#include "experiments/device_choice.h"
#include "experiments/environment.h"
#include "experiments/interrupt.h"
#include "experiments/paths.h"
#include "experiments/shard_choice.h"
#include "experiments/sourced_ceilings.h"
#include "experiments/sweep.h"
#include "experiments/worker_command.h"
#include "experiments/workload_group.h"
#include "reports/markdown.h"
#include "reports/report.h"
#include "tuner/replay.h"

namespace fse {
namespace {

Environment describe_environment(Workbench& bench) {
  Environment environment = environment_here(bench.device(), bench.kernel_toolchain());
  environment.read_gbs = bench.measure_read_gbs();
  environment.peak_gflops = bench.measure_peak_gflops();
  return environment;
}

// What shares a workload, one layer after the other, in the sweep's order.
std::vector<WorkloadGroup> group_cases(const std::vector<CaseRecord>& cases) {
  std::map<std::string, size_t> layers;
  std::map<std::pair<size_t, std::string>, size_t> known;
  std::vector<std::pair<size_t, WorkloadGroup>> groups;  // with the place of its layer
  for (const CaseRecord& record : cases) {
    if (record.state == CaseState::refused) continue;
    const Case& spec = record.spec;
    const size_t layer = layers.try_emplace(weights_text(spec), layers.size()).first->second;
    const std::string key = fmt::format("tokens={}\n{}", spec.tokens, workload_key(spec));
    const auto [it, added] = known.try_emplace({layer, key}, groups.size());
    if (added) groups.push_back({layer, {{}, measured_shard(spec.layer, spec.tp)}});
    groups[it->second].second.cases.push_back(record);
  }
  std::stable_sort(groups.begin(), groups.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<WorkloadGroup> sorted;
  for (auto& [layer, group] : groups) sorted.push_back(std::move(group));
  return sorted;
}

// Every nth group belongs to a shard: all variants of a workload are measured together. Which it
// is does not depend on what has been done.
std::vector<WorkloadGroup> groups_of(const ShardChoice& shard, std::vector<WorkloadGroup> all) {
  std::vector<WorkloadGroup> chosen;
  for (size_t i = 0; i < all.size(); ++i)
    if (i % static_cast<size_t>(shard.of) + 1 == static_cast<size_t>(shard.number))
      chosen.push_back(std::move(all[i]));
  return chosen;
}

// Records a group that does not fit into memory, with both sizes.
bool refuse_oversized(const RunContext& context, const WorkloadGroup& group, int sets) {
  const DeviceInfo& device = context.bench.device();
  std::vector<LayerPlan> plans;
  for (const CaseRecord& record : group.cases)
    plans.push_back(
        make_plan(record.spec.layer, group.shard, record.spec.variant, record.spec.tokens, device));
  const std::string why = out_of_memory(plans, device, sets);
  if (why.empty()) return false;
  for (const CaseRecord& record : group.cases)
    fail_case(context, record.spec, {.status = Status::out_of_memory, .reason = why});
  return true;
}

void run_workload(RunContext& context, const WorkloadGroup& group) {
  const Case& spec = group.cases.front().spec;
  context.ledger.rotation =
      plan_rotation(spec.layer, group.shard, context.bench.device(), context.measure.cache);
  context.ledger.cache = context.measure.cache;
  context.ledger.workload = workload_key(spec);
  if (!refuse_oversized(context, group, context.ledger.rotation.sets)) run_group(context, group);
}

// Takes the group's pending cases and runs them; false where another process has some of them.
bool claim_and_run(RunContext& context, WorkloadGroup group) {
  std::vector<std::string> ids;
  for (const CaseRecord& record : group.cases) ids.push_back(case_id(record.spec));
  const auto ours = context.ledger.store.claim_cases(context.ledger.study, ids);
  if (!ours) return false;
  std::erase_if(group.cases, [&](const CaseRecord& record) {
    return std::find(ours->begin(), ours->end(), case_id(record.spec)) == ours->end();
  });
  if (!group.cases.empty()) run_workload(context, group);
  return true;
}

// Until nothing is left: what another process has is waited for, and taken over if that ends.
void run_groups(RunContext& context, std::vector<WorkloadGroup> left) {
  while (!left.empty()) {
    std::vector<WorkloadGroup> elsewhere;
    for (const WorkloadGroup& group : left)
      if (!claim_and_run(context, group)) elsewhere.push_back(group);
    if (interrupted()) throw Error(ErrorKind::incomplete, "stopped");
    if (elsewhere.size() == left.size()) {
      context.progress.activity("waiting for another process");
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    left = std::move(elsewhere);
  }
}

int64_t count(const std::vector<CaseRecord>& cases, CaseState state) {
  return std::count_if(cases.begin(), cases.end(),
                       [&](const CaseRecord& record) { return record.state == state; });
}

// What a datasheet says that the device reads; 0 where none is at hand.
double sourced_gbs(const Environment& environment) {
  for (const Ceiling& ceiling : sourced_ceilings(known_models({environment}, configs_dir())))
    if (ceiling.what == "read_gbs") return ceiling.value;
  return 0;
}

void measure_pending(Workbench& bench, const SweepSpec& spec, Store& store, int64_t study,
                     std::vector<WorkloadGroup> groups, Progress& progress) {
  progress.activity("measuring the device's ceilings");
  const Environment environment = describe_environment(bench);
  RunContext context{.bench = bench,
                     .ledger = {.store = store,
                                .study = study,
                                .environment = store.add_environment(environment),
                                .workload = {},
                                .read_gbs = environment.read_gbs,
                                .peak_gflops = environment.peak_gflops,
                                .sourced_gbs = sourced_gbs(environment)},
                     .tune = spec.tune,
                     .measure = spec.measure,
                     .progress = progress};
  run_groups(context, std::move(groups));
}

// False when it was interrupted.
bool run_pending(Workbench& bench, const SweepSpec& spec, Store& store, int64_t study,
                 const ShardChoice& shard, bool quiet) {
  std::vector<WorkloadGroup> groups = groups_of(shard, group_cases(store.cases(study)));
  int64_t total = 0, pending = 0;
  for (const WorkloadGroup& group : groups) {
    total += static_cast<int64_t>(group.cases.size());
    pending += count(group.cases, CaseState::pending);
  }
  if (pending == 0) return true;
  Progress progress(total, total - pending, quiet);
  try {
    measure_pending(bench, spec, store, study, std::move(groups), progress);
  } catch (const Error& error) {
    if (error.kind != ErrorKind::incomplete) throw;
    return false;
  }
  return true;
}

// Recordings cannot crash: they need no worker.
std::unique_ptr<Workbench> open_bench(const RunOptions& options, const std::string& device) {
  const Deadlines deadlines = read_deadlines(options.deadlines);
  if (const auto folder = replayed_folder(device)) return open_replay(*folder);
  if (options.in_process) return open_workbench(open_device(device));
  return open_device_in_worker(device, deadlines);
}

}  // namespace

int run_sweep(const RunOptions& options) {
  const ShardChoice shard = read_shard(options.shard);  // its mistakes first, before a device opens
  const std::filesystem::path configs = configs_dir();
  const SweepSpec spec = read_sweep(find_sweep(options.sweep, configs), options.overrides);
  require_measured_device(spec.device);
  const auto bench = open_bench(options, spec.device);
  const Expansion expansion = expand(spec, bench->device(), configs);
  for (const std::string& note : expansion.notes) fmt::print(stderr, "{}\n", note);
  Store store = Store::create_or_open(options.db);
  if (!store.warning().empty()) fmt::print(stderr, "fselab: {}\n", store.warning());
  const int64_t study = store.add_study({.name = spec.study,
                                         .yaml_text = spec.yaml_text,
                                         .plan_hash = expansion.plan_hash,
                                         .command = options.command,
                                         .created = {},
                                         .notes = expansion.notes},
                                        expansion.cases);
  catch_interrupts();
  const bool complete = run_pending(*bench, spec, store, study, shard, options.quiet);
  const std::vector<CaseRecord> cases = store.cases(study);
  fmt::print("{}", to_markdown(load_report(store, study)));
  if (!complete) {
    fmt::print(stderr, "fselab: stopped with {} of {} pending; the same command resumes\n",
               count(cases, CaseState::pending),
               counted(static_cast<int64_t>(cases.size()), "case"));
    return static_cast<int>(ErrorKind::incomplete);
  }
  return count(cases, CaseState::failed) > 0 ? 1 : 0;
}

}  // namespace fse
