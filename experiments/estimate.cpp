#include "experiments/estimate.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "core/plan.h"
#include "core/workload.h"
#include "experiments/workload_group.h"
#include "tuner/tune.h"

namespace fse {
namespace {

// Rough costs around the work itself, of one thread of a current server core; a time estimate needs
// no better: drawing a random weight, converting one to float64 and using it there.
constexpr double kDrawSeconds = 2e-9;
constexpr double kReferenceSecondsPerWeight = 2e-9;
constexpr double kReferenceFlopsPerSecond = 3e9;
constexpr double kTunedOverFloor = 1.5;   // what tuned layers take, in floors
constexpr double kUntunedOverFloor = 4;   // what the average candidate takes
constexpr double kScreeningSamples = 12;  // of a candidate: its check, warm-up, a few rounds
// Around a candidate's runs: opening it, its buffers' guards, three answers compared, two messages
// to the worker and two commits. Measured on a small layer, where nothing else counts.
constexpr double kCandidateSeconds = 4e-3;
constexpr double kInputsVerified = 3;     // the workload's first and two hostile ones
constexpr double kCeilingsSeconds = 0.5;  // measured once after every workload

// Rows per expert of one drawn batch. Large batches are drawn in part and scaled: their loads are
// near their means.
Load draw_load(const Case& spec) {
  constexpr int kMostDrawn = 4096;
  const int drawn = std::min(spec.tokens, kMostDrawn);
  Load load =
      load_of(draw_routing(spec.layer, spec.routing, drawn, spec.seed), spec.layer.routing.experts);
  for (int64_t& rows : load.rows_per_expert) rows = rows * spec.tokens / drawn;
  return load;
}

// What the cases of a workload share.
struct Setting {
  const SweepSpec& sweep;
  const DeviceInfo& device;
  const Rates& rates;
  Shard shard;
  int sets = 0;  // of weights, rotated over
  Load load;     // of the routed experts
};

Setting setting_of(const SweepSpec& sweep, const Case& spec, const DeviceInfo& device,
                   const Rates& rates) {
  const Shard shard = measured_shard(spec.layer, spec.tp);
  return {.sweep = sweep,
          .device = device,
          .rates = rates,
          .shard = shard,
          .sets = plan_rotation(spec.layer, shard, device, sweep.measure.cache).sets,
          .load = draw_load(spec)};
}

CaseEstimate plan_case(const std::optional<Setting>& at, const CaseRecord& record) {
  CaseEstimate result{.record = record, .plan = {}, .steps = {}, .out_of_memory = {}};
  const Case& spec = record.spec;
  if (record.state != CaseState::refused)
    result.plan = make_plan(spec.layer, at->shard, spec.variant, spec.tokens, at->device);
  return result;
}

// `tuned`: step key -> candidates; what is searched once counts once.
void estimate_steps(const Setting& at, CaseEstimate& c, std::map<std::string, int64_t>& tuned) {
  Load load = at.load;
  load.rows_per_expert.resize(static_cast<size_t>(c.plan.expert_count()), c.plan.tokens);
  for (const Step& step : c.plan.steps) {
    const Work work = step_work(c.plan, step, load);
    c.steps.push_back(
        {.work = work, .floor_us = floor_us(work, at.rates.read_gbs, at.rates.peak_gflops)});
    if (!c.runs()) continue;  // nothing is searched for it
    const auto [search, is_new] = tuned.emplace(step_key(c.plan, step), 0);
    if (is_new)
      search->second =
          static_cast<int64_t>(candidates(c.plan, step, at.device, at.sweep.tune.tiles).size());
    c.steps.back().tiles = search->second;
    c.steps.back().tuned_before = !is_new;
  }
}

// A workload's variants are all open while they are measured: they fit together or not at all.
void estimate_cases(const Setting& at, std::vector<CaseEstimate>& cases) {
  std::vector<LayerPlan> plans;
  for (const CaseEstimate& c : cases)
    if (c.record.state != CaseState::refused) plans.push_back(c.plan);
  const std::string why = out_of_memory(plans, at.device, at.sets);
  std::map<std::string, int64_t> tuned;
  for (CaseEstimate& c : cases) {
    if (c.record.state == CaseState::refused) continue;
    c.out_of_memory = why;
    estimate_steps(at, c, tuned);
  }
}

MemoryEstimate estimate_memory(const Setting& at, const WorkloadEstimate& workload) {
  const LayerSpec& layer = workload.cases.front().record.spec.layer;
  MemoryEstimate memory{.sets = at.sets,
                        .one_set_bytes = weight_bytes(layer, at.shard),
                        .weight_bytes = random_weights_bytes(layer, at.shard, at.sets)};
  // Every variant that runs keeps its buffers until the last of them is measured.
  for (const CaseEstimate& c : workload.cases) {
    if (!c.runs()) continue;
    memory.buffer_bytes += buffer_bytes(c.plan);
    memory.reference_bytes = std::max(memory.reference_bytes, reference_bytes(c.plan));
  }
  return memory;
}

double tune_seconds(const TuneSpec& tune, const StepEstimate& step) {
  if (tune.strategy == Strategy::none || step.tuned_before || step.tiles < 2) return 0;
  double evaluations = static_cast<double>(step.tiles);
  if (tune.evaluations) evaluations = std::min<double>(evaluations, *tune.evaluations);
  if (tune.fraction) evaluations = std::ceil(evaluations * *tune.fraction);
  const double each =
      kCandidateSeconds + kScreeningSamples * kUntunedOverFloor * step.floor_us * 1e-6;
  const double search = evaluations * each;
  return tune.seconds ? std::min(search, *tune.seconds) : search;
}

// Six rounds at least of a layer, and of four with another tile.
double joint_seconds(const TuneSpec& tune, const CaseEstimate& c) {
  constexpr double kRuns = 6 * 5;
  if (tune.strategy == Strategy::none) return 0;
  return kRuns * c.floor_us() * kTunedOverFloor * 1e-6;
}

TimeEstimate estimate_time(const SweepSpec& sweep, const WorkloadEstimate& workload,
                           bool draws_weights) {
  const CaseRecord& first = workload.cases.front().record;
  const auto weights = [&](int64_t bytes) {
    return static_cast<double>(bytes / element_bytes(first.spec.layer.dtype));
  };
  TimeEstimate time;
  if (draws_weights) time.prepare_s += weights(workload.memory.weight_bytes) * kDrawSeconds;
  double work_bytes = 0, work_flops = 0, race_s = 0;
  for (const CaseEstimate& c : workload.cases) {
    if (!c.runs()) continue;
    work_bytes = std::max(work_bytes, c.bytes());
    work_flops = std::max(work_flops, c.flops());
    for (const StepEstimate& step : c.steps) time.tune_s += tune_seconds(sweep.tune, step);
    time.tune_s += joint_seconds(sweep.tune, c);
    const double rounds = sweep.measure.min_rounds * c.floor_us() * kTunedOverFloor * 1e-6;
    race_s = std::min(rounds, sweep.measure.max_seconds);
    time.measure_s += race_s;
  }
  // The fastest and its baseline once more, in a process that draws its own weights.
  time.measure_s += 2 * race_s + weights(workload.memory.weight_bytes) * kDrawSeconds;
  const double reference = weights(static_cast<int64_t>(work_bytes)) * kReferenceSecondsPerWeight +
                           work_flops / kReferenceFlopsPerSecond;
  time.prepare_s += kInputsVerified * reference + kCeilingsSeconds;
  return time;
}

}  // namespace

double CaseEstimate::bytes() const {
  double sum = 0;
  for (const StepEstimate& step : steps) sum += step.work.bytes;
  return sum;
}

double CaseEstimate::flops() const {
  double sum = 0;
  for (const StepEstimate& step : steps) sum += step.work.flops;
  return sum;
}

double CaseEstimate::floor_us() const {
  double sum = 0;
  for (const StepEstimate& step : steps) sum += step.floor_us;
  return sum;
}

int64_t CaseEstimate::tiles() const {
  int64_t sum = 0;
  for (const StepEstimate& step : steps) sum += step.tuned_before ? 0 : step.tiles;
  return sum;
}

std::vector<WorkloadEstimate> estimate(const SweepSpec& sweep, const Expansion& expansion,
                                       const DeviceInfo& device, const Rates& rates) {
  std::vector<WorkloadEstimate> workloads;
  std::set<std::string> drawn;  // layer and shard whose weights an earlier workload drew
  const std::vector<CaseRecord>& cases = expansion.cases;
  for (size_t begin = 0, end = 0; begin < cases.size(); begin = end) {
    const Case& spec = cases[begin].spec;
    while (end < cases.size() && same_workload(cases[end].spec, spec)) ++end;
    WorkloadEstimate workload;
    std::optional<Setting> at;  // drawn for the first case that is not refused
    for (size_t i = begin; i < end; ++i) {
      if (!at && cases[i].state != CaseState::refused)
        at.emplace(setting_of(sweep, spec, device, rates));
      workload.cases.push_back(plan_case(at, cases[i]));
    }
    if (at) estimate_cases(*at, workload.cases);
    if (std::any_of(workload.cases.begin(), workload.cases.end(),
                    [](const CaseEstimate& c) { return c.runs(); })) {
      workload.memory = estimate_memory(*at, workload);
      const std::string weights = canonical_text(spec.layer) + std::to_string(spec.tp);
      workload.time = estimate_time(sweep, workload, drawn.insert(weights).second);
    }
    workloads.push_back(std::move(workload));
  }
  return workloads;
}

}  // namespace fse
