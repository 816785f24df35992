#include "experiments/record_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/counted.h"
#include "core/error.h"
#include "experiments/device_choice.h"
#include "experiments/interrupt.h"
#include "experiments/paths.h"
#include "experiments/sweep.h"
#include "experiments/worker_command.h"
#include "tuner/record.h"
#include "tuner/tune.h"

namespace fse {
namespace {

struct Recorder {
  const RecordOptions& options;
  const SweepSpec& sweep;
  Workbench& bench;
  double read_gbs, peak_gflops;
  std::set<std::filesystem::path> seen;

  std::filesystem::path file_of(const LayerPlan& plan, const Step& step, const Case& spec) const {
    std::string name = fmt::format(
        "{}_{}_{}.jsonl.gz", bench.device().arch, step.name,
        hash_text(step_key(plan, step) + to_text(spec.routing) + to_name(spec.cache)).substr(0, 6));
    std::transform(name.begin(), name.end(), name.begin(), ::tolower);
    return options.out / name;
  }

  void record(LayerRunner& layer, const LayerPlan& plan, size_t step, const Case& spec,
              const std::filesystem::path& file) {
    const DeviceInfo& device = bench.device();
    const std::vector<Choice> all = candidates(plan, plan.steps[step], device, sweep.tune.tiles);
    const auto runner = layer.open_step(step, default_choices(plan, device));
    const RecordedStep recorded{.device = device,
                                .toolchain = bench.kernel_toolchain(),
                                .read_gbs = read_gbs,
                                .peak_gflops = peak_gflops,
                                .spec = spec,
                                .step = plan.steps[step].name,
                                .tiles = record_tiles(*runner, all,
                                                      {.most_tiles = options.most_tiles,
                                                       .seconds = options.seconds,
                                                       .seed = spec.seed,
                                                       .stop = interrupted})};
    write_recorded_step(recorded, file);
    const auto measured = std::count_if(
        recorded.tiles.begin(), recorded.tiles.end(),
        [](const RecordedTile& tile) { return tile.outcome.status == Status::measured; });
    fmt::print("{}: {} of {}, {} measured\n", file.string(), recorded.tiles.size(),
               counted(static_cast<int64_t>(all.size()), "tile"), measured);
    std::fflush(stdout);
  }

  void record_case(const Case& spec) {
    const Shard shard = measured_shard(spec.layer, spec.tp);
    const DeviceInfo& device = bench.device();
    const LayerPlan plan = make_plan(spec.layer, shard, spec.variant, spec.tokens, device);
    std::unique_ptr<LayerRunner> layer;
    for (size_t i = 0; i < plan.steps.size(); ++i) {
      const std::filesystem::path file = file_of(plan, plan.steps[i], spec);
      if (!seen.insert(file).second || std::filesystem::exists(file)) continue;
      if (!layer) {
        const Rotation rotation = plan_rotation(spec.layer, shard, device, spec.cache);
        bench.set_workload(
            {.spec = spec, .sets = rotation.sets, .rounds = sweep.measure.min_rounds});
        layer = bench.open(spec.variant);
      }
      record(*layer, plan, i, spec, file);
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
  Recorder recorder{.options = options,
                    .sweep = sweep,
                    .bench = *bench,
                    .read_gbs = bench->measure_read_gbs(),
                    .peak_gflops = bench->measure_peak_gflops()};
  for (const CaseRecord& record : expansion.cases)
    if (record.state != CaseState::refused) recorder.record_case(record.spec);
  return 0;
}

}  // namespace fse
