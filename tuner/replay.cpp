#include "tuner/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "core/error.h"
#include "core/rng.h"
#include "core/statistics.h"
#include "tuner/recorded_step.h"

namespace fse {
namespace {

// One step's recorded tiles, by "KERNEL TILE".
using Tiles = std::map<std::string, Outcome>;

// What a step's times depend on.
std::string key_of(const LayerPlan& plan, const Step& step, const Case& spec) {
  return fmt::format("{} routing={} cache={} tp={}", step_key(plan, step), to_text(spec.routing),
                     to_name(spec.cache), spec.tp);
}

const Outcome& recorded(const Tiles& tiles, const Choice& choice) {
  const auto found = tiles.find(to_text(choice));
  if (found == tiles.end())
    throw AttemptError(Status::illegal, to_text(choice) + " was not recorded", false);
  const Outcome& outcome = found->second;
  if (outcome.status != Status::measured) throw AttemptError(outcome.status, outcome.reason, false);
  return outcome;
}

class ReplayStep final : public StepRunner {
 public:
  ReplayStep(const Tiles& tiles, Work work) : tiles_(tiles), work_(work) {}
  void prepare_reference() override {}
  Accuracy verify(const Choice& choice) override { return recorded(tiles_, choice).accuracy; }
  void compile(std::span<const Choice>) override {}
  std::optional<KernelResources> resources(const Choice& choice) override {
    return recorded(tiles_, choice).resources;
  }
  double time_us(const Choice& choice, int round, Stage) override {
    const std::vector<double>& us = recorded(tiles_, choice).samples_us;
    return us[static_cast<size_t>(round) % us.size()];
  }
  Work work() const override { return work_; }

 private:
  const Tiles& tiles_;
  const Work work_;
};

// Experts drawn alike, as `routing: uniform` does.
Load drawn_load(const LayerPlan& plan, uint64_t seed) {
  const RoutingSpec& r = plan.layer.routing;
  Load load{std::vector<int64_t>(static_cast<size_t>(plan.expert_count()))};
  std::vector<size_t> ids(static_cast<size_t>(r.experts));
  std::iota(ids.begin(), ids.end(), size_t{0});
  Rng rng(seed);
  for (int token = 0; token < plan.tokens; ++token) {
    shuffle(ids, rng);
    for (int k = 0; k < r.top_k; ++k) ++load.rows_per_expert[ids[static_cast<size_t>(k)]];
  }
  for (size_t slot = ids.size(); slot < load.rows_per_expert.size(); ++slot)
    load.rows_per_expert[slot] = plan.tokens;
  return load;
}

class ReplayLayer final : public LayerRunner {
 public:
  ReplayLayer(LayerPlan plan, const Case& spec, const std::map<std::string, Tiles>& recordings)
      : plan_(std::move(plan)), seed_(spec.seed) {
    for (const Step& step : plan_.steps) {
      const std::string key = key_of(plan_, step, spec);
      const auto found = recordings.find(key);
      if (found == recordings.end())
        throw AttemptError(Status::illegal, "nothing was recorded of " + key, false);
      steps_.push_back(&found->second);
    }
  }
  std::unique_ptr<StepRunner> open_step(size_t step, std::span<const Choice>) override {
    const Work work = step_work(plan_, plan_.steps[step], drawn_load(plan_, seed_));
    return std::make_unique<ReplayStep>(*steps_[step], work);
  }
  LayerCheck verify(std::span<const Choice> choices) override {
    LayerCheck check{.routing = {.rows = plan_.tokens, .equal = plan_.tokens}};
    for (size_t i = 0; i < steps_.size(); ++i)
      keep_worse(check.output, recorded(*steps_[i], choices[i]).accuracy);
    return check;
  }
  RunTimes run(std::span<const Choice> choices, int round, int) override {
    RunTimes times;
    for (size_t i = 0; i < steps_.size(); ++i) {
      const std::vector<double>& us = recorded(*steps_[i], choices[i]).samples_us;
      times.step_us.push_back(us[static_cast<size_t>(round) % us.size()]);
      times.layer_us += times.step_us.back();
    }
    return times;
  }
  Load load(std::span<const Choice>, int round) override {
    return drawn_load(plan_, seed_ + static_cast<uint64_t>(round));
  }

 private:
  const LayerPlan plan_;
  const uint64_t seed_;
  std::vector<const Tiles*> steps_;
};

class ReplayWorkbench final : public Workbench {
 public:
  explicit ReplayWorkbench(const std::vector<RecordedStep>& all) {
    const RecordedStep& first = all.front();
    device_ = first.device;
    toolchain_ = first.toolchain;
    read_gbs_ = first.read_gbs;
    peak_gflops_ = first.peak_gflops;
    for (const RecordedStep& r : all) add(r);
  }
  void name_device(const std::string& name) { device_.name = name; }

  const DeviceInfo& device() const override { return device_; }
  std::string kernel_toolchain() const override { return toolchain_; }
  double measure_read_gbs() override { return read_gbs_; }
  double measure_peak_gflops() override { return peak_gflops_; }
  void set_workload(const WorkloadSpec& workload) override {
    spec_ = workload.spec;
    inputs_ = workload.rounds;
  }
  int inputs() const override { return inputs_; }
  std::unique_ptr<LayerRunner> open(const Variant& variant) override {
    LayerPlan plan = make_plan(spec_.layer, measured_shard(spec_.layer, spec_.tp), variant,
                               spec_.tokens, device_);
    return std::make_unique<ReplayLayer>(std::move(plan), spec_, recordings_);
  }

 private:
  void add(const RecordedStep& r) {
    const RecordedPlan at = plan_of(r);
    Tiles& tiles = recordings_[key_of(at.plan, at.plan.steps[at.step], r.spec)];
    for (const RecordedTile& tile : r.tiles)
      tiles.emplace(choice_text(tile.kernel, tile_from_text(tile.tile)), tile.outcome);
  }

  DeviceInfo device_;
  std::string toolchain_;
  double read_gbs_ = 0, peak_gflops_ = 0;
  std::map<std::string, Tiles> recordings_;  // by key_of()
  Case spec_;
  int inputs_ = 1;
};

}  // namespace

std::unique_ptr<Workbench> open_replay(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error))
    if (entry.path().extension() == ".gz") files.push_back(entry.path());
  if (files.empty())
    fail_usage(
        fmt::format("device 'replay:{}': no recordings there, expected *.gz files of "
                    "`fselab record`",
                    folder.string()));
  std::sort(files.begin(), files.end());
  std::vector<RecordedStep> all;
  for (const auto& file : files) {
    all.push_back(read_recorded_step(file));
    const DeviceInfo &a = all.front().device, &b = all.back().device;
    if (a.arch != b.arch || a.product != b.product)
      fail_data(fmt::format("{}: is of {} {}, but {} is of {} {}", file.string(), b.product, b.arch,
                            files.front().string(), a.product, a.arch));
  }
  auto bench = std::make_unique<ReplayWorkbench>(all);
  bench->name_device("replay:" + folder.string());
  return bench;
}

}  // namespace fse
