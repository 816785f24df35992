#include "experiments/record_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "core/counted.h"
#include "core/error.h"
#include "core/nearest.h"
#include "experiments/compile_requests.h"
#include "experiments/device_choice.h"
#include "experiments/interrupt.h"
#include "experiments/paths.h"
#include "experiments/sweep.h"
#include "experiments/worker_command.h"
#include "kernels/compile_ahead.h"
#include "kernels/instance.h"
#include "tuner/record.h"
#include "tuner/tune.h"

namespace fse {
namespace {

using Clock = std::chrono::steady_clock;

// One step that is not recorded in whole yet.
struct Job {
  Case spec;  // the first that has the step
  LayerPlan plan;
  size_t step = 0;
  std::filesystem::path file;
  size_t legal = 0;
  std::vector<Choice> chosen, missing;
  std::vector<RecordedTile> before;  // by the same command, earlier
  size_t compiled_before = 0;        // instances of the jobs before this one
};

std::filesystem::path file_of(const RecordOptions& options, const DeviceInfo& device,
                              const Job& job) {
  const Step& step = job.plan.steps[job.step];
  const std::string key =
      step_key(job.plan, step) + to_text(job.spec.routing) + to_name(job.spec.cache);
  std::string name =
      fmt::format("{}_{}_{}.jsonl.gz", device.arch, step.name, hash_text(key).substr(0, 6));
  std::transform(name.begin(), name.end(), name.begin(), ::tolower);
  return options.out / name;
}

void require_steps(const std::vector<std::string>& wanted, const std::set<std::string>& names) {
  for (const std::string& name : wanted)
    if (!names.contains(name))
      fail_usage(fmt::format("--steps: no case has a step '{}'{}", name,
                             did_you_mean(name, {names.begin(), names.end()})));
}

// What the options ask for and is not there yet, in the sweep's order.
std::vector<Job> jobs_of(const RecordOptions& options, const SweepSpec& sweep,
                         const std::vector<CaseRecord>& cases, const DeviceInfo& device) {
  std::vector<Job> jobs;
  std::set<std::filesystem::path> seen;
  std::set<std::string> names;
  for (const CaseRecord& record : cases) {
    if (record.state == CaseState::refused) continue;
    const Case& spec = record.spec;
    const LayerPlan plan = make_plan(spec, device);
    for (size_t i = 0; i < plan.steps.size(); ++i) {
      const std::string& name = plan.steps[i].name;
      names.insert(name);
      const auto& only = options.steps;
      if (!only.empty() && std::find(only.begin(), only.end(), name) == only.end()) continue;
      Job job{.spec = spec, .plan = plan, .step = i};
      job.file = file_of(options, device, job);
      if (!seen.insert(job.file).second) continue;
      const auto all = candidates(plan, plan.steps[i], device, sweep.tune.tiles);
      job.legal = all.size();
      job.chosen = recorded_choices(all, options.most_tiles, spec.seed);
      if (std::filesystem::exists(job.file)) job.before = read_recorded_step(job.file).tiles;
      job.missing = missing_choices(job.chosen, job.before);
      if (!job.missing.empty()) jobs.push_back(std::move(job));
    }
  }
  require_steps(options.steps, names);
  return jobs;
}

// A GPU's kernels are compiled on all cores but the one that measures.
std::unique_ptr<CompileAhead> compile_ahead(std::vector<Job>& jobs, const DeviceInfo& device) {
  std::vector<JitRequest> requests;
  for (Job& job : jobs) {
    job.compiled_before = requests.size();
    for (const Choice& choice : job.missing)
      if (auto request = instance_of(choice, job.plan, job.plan.steps[job.step]))
        requests.push_back(*std::move(request));
  }
  if (requests.empty() || device.kind != "hip") return nullptr;
  return std::make_unique<CompileAhead>(make_jit(device.arch), std::move(requests),
                                        std::max(1, backend_config().compile_threads - 1));
}

struct Recorder {
  const RecordOptions& options;
  const SweepSpec& sweep;
  Workbench& bench;
  CompileAhead* ahead;  // nullptr: nothing is compiled
  double read_gbs, peak_gflops;
  const Clock::time_point start = Clock::now();
  size_t whole = 0;  // jobs that have all their tiles now

  double seconds_left() const {
    return options.total_seconds - std::chrono::duration<double>(Clock::now() - start).count();
  }
  bool ended() const { return interrupted() || (options.total_seconds > 0 && seconds_left() <= 0); }

  void record(LayerRunner& layer, const Job& job) {
    const DeviceInfo& device = bench.device();
    const auto runner = layer.open_step(job.step, default_choices(job.plan, device));
    std::vector<RecordedTile> tiles =
        record_tiles(*runner, job.missing,
                     {.seconds = options.seconds,
                      .stop = [this] { return ended(); },
                      .before_compiling =
                          [&](size_t count) {
                            if (ahead) ahead->wait_for(job.compiled_before + count);
                          }});
    const auto measured = std::count_if(tiles.begin(), tiles.end(), [](const RecordedTile& tile) {
      return tile.outcome.status == Status::measured;
    });
    const size_t now = tiles.size();
    tiles.insert(tiles.end(), job.before.begin(), job.before.end());
    const RecordedStep recorded{.device = device,
                                .toolchain = bench.kernel_toolchain(),
                                .read_gbs = read_gbs,
                                .peak_gflops = peak_gflops,
                                .spec = job.spec,
                                .step = job.plan.steps[job.step].name,
                                .legal = static_cast<int>(job.legal),
                                .tiles = in_order_of(job.chosen, tiles)};
    if (recorded.tiles.empty()) return;
    write_recorded_step(recorded, job.file);
    whole += recorded.tiles.size() == job.chosen.size();
    fmt::print("{}: {} of {}, {} now, {} of them measured; {:.1f} s\n", job.file.string(),
               recorded.tiles.size(), counted(static_cast<int64_t>(job.legal), "tile"), now,
               measured, std::chrono::duration<double>(Clock::now() - start).count());
    std::fflush(stdout);
  }

  // All jobs of one case share its layer.
  void record_all(const std::vector<Job>& jobs) {
    std::unique_ptr<LayerRunner> layer;
    const Case* open = nullptr;
    for (const Job& job : jobs) {
      if (ended()) break;
      if (!open || canonical_text(*open) != canonical_text(job.spec)) {
        layer.reset();
        open = &job.spec;
        const Rotation rotation =
            plan_rotation(job.spec.layer, job.plan.shard, bench.device(), job.spec.cache);
        bench.set_workload(
            {.spec = job.spec, .sets = rotation.sets, .rounds = sweep.measure.min_rounds});
        layer = bench.open(job.spec.variant);
      }
      record(*layer, job);
    }
  }
};

}  // namespace

int record_sweep(const RecordOptions& options) {
  const SweepSpec sweep = read_sweep(find_sweep(options.sweep, configs_dir()), options.overrides);
  require_measured_device(sweep.device);
  const auto bench = open_device_in_worker(sweep.device, read_deadlines(options.deadlines));
  const Expansion expansion = expand(sweep, bench->device(), configs_dir());
  std::filesystem::create_directories(options.out);
  catch_interrupts();
  std::vector<Job> jobs = jobs_of(options, sweep, expansion.cases, bench->device());
  const auto ahead = compile_ahead(jobs, bench->device());
  Recorder recorder{.options = options,
                    .sweep = sweep,
                    .bench = *bench,
                    .ahead = ahead.get(),
                    .read_gbs = bench->measure_read_gbs(),
                    .peak_gflops = bench->measure_peak_gflops()};
  recorder.record_all(jobs);
  const size_t left = jobs.size() - recorder.whole;
  if (left == 0) return 0;
  fmt::print(stderr, "fselab: {} not recorded in whole; the same command goes on\n",
             counted(static_cast<int64_t>(left), "step"));
  return static_cast<int>(ErrorKind::incomplete);
}

}  // namespace fse
