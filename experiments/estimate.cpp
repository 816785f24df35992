#include "experiments/estimate.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/plan.h"
#include "core/workload.h"
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

bool same_workload(const Case& a, const Case& b) {
  Case c = b;
  c.variant = a.variant;
  return canonical_text(a) == canonical_text(c);
}

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

CaseEstimate estimate_case(const SweepSpec& sweep, const CaseRecord& record, const Shard& shard,
                           Load load, const DeviceInfo& device, const Rates& rates,
                           std::map<std::string, int64_t>& tuned) {
  const Case& spec = record.spec;
  CaseEstimate result{.record = record,
                      .plan = make_plan(spec.layer, shard, spec.variant, spec.tokens, device),
                      .steps = {}};
  load.rows_per_expert.resize(static_cast<size_t>(result.plan.expert_count()), spec.tokens);
  for (const Step& step : result.plan.steps) {
    const Work work = step_work(result.plan, step, load);
    const auto [search, is_new] = tuned.emplace(step_key(result.plan, step), 0);
    if (is_new)
      search->second =
          static_cast<int64_t>(candidates(result.plan, step, device, sweep.tune.tiles).size());
    result.steps.push_back({.work = work,
                            .floor_us = floor_us(work, rates.read_gbs, rates.peak_gflops),
                            .tiles = search->second,
                            .tuned_before = !is_new});
  }
  return result;
}

MemoryEstimate estimate_memory(const SweepSpec& sweep, const WorkloadEstimate& workload,
                               const Shard& shard, const DeviceInfo& device) {
  const LayerSpec& layer = workload.cases.front().record.spec.layer;
  MemoryEstimate memory;
  memory.sets = plan_rotation(layer, shard, device, sweep.measure.cache).sets;
  memory.one_set_bytes = weight_bytes(layer, shard);
  memory.weight_bytes = random_weights_bytes(layer, shard, memory.sets);
  // Every legal variant keeps its buffers until the last of them is measured.
  for (const CaseEstimate& c : workload.cases) {
    if (c.record.state == CaseState::refused) continue;
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
  const double each = kScreeningSamples * kUntunedOverFloor * step.floor_us * 1e-6;
  const double search = evaluations * each;
  return tune.seconds ? std::min(search, *tune.seconds) : search;
}

TimeEstimate estimate_time(const SweepSpec& sweep, const WorkloadEstimate& workload,
                           bool draws_weights) {
  const CaseRecord& first = workload.cases.front().record;
  const auto weights = [&](int64_t bytes) {
    return static_cast<double>(bytes / element_bytes(first.spec.layer.dtype));
  };
  TimeEstimate time;
  if (draws_weights) time.prepare_s += weights(workload.memory.weight_bytes) * kDrawSeconds;
  double work_bytes = 0, work_flops = 0;
  for (const CaseEstimate& c : workload.cases) {
    if (c.record.state == CaseState::refused) continue;
    work_bytes = std::max(work_bytes, c.bytes());
    work_flops = std::max(work_flops, c.flops());
    for (const StepEstimate& step : c.steps) time.tune_s += tune_seconds(sweep.tune, step);
    const double rounds = sweep.measure.min_rounds * c.floor_us() * kTunedOverFloor * 1e-6;
    time.measure_s += std::min(rounds, sweep.measure.max_seconds);
  }
  time.prepare_s += weights(static_cast<int64_t>(work_bytes)) * kReferenceSecondsPerWeight +
                    work_flops / kReferenceFlopsPerSecond;
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
    const auto pending = [](const CaseRecord& r) { return r.state == CaseState::pending; };
    const bool any = std::any_of(cases.begin() + static_cast<ptrdiff_t>(begin),
                                 cases.begin() + static_cast<ptrdiff_t>(end), pending);
    WorkloadEstimate workload;
    const Shard shard = any ? measured_shard(spec.layer, spec.tp) : Shard{};
    const Load load = any ? draw_load(spec) : Load{};
    std::map<std::string, int64_t> tuned;  // step key -> candidates
    for (size_t i = begin; i < end; ++i)
      workload.cases.push_back(
          pending(cases[i]) ? estimate_case(sweep, cases[i], shard, load, device, rates, tuned)
                            : CaseEstimate{.record = cases[i]});
    if (any) {
      workload.memory = estimate_memory(sweep, workload, shard, device);
      const std::string weights = canonical_text(spec.layer) + std::to_string(spec.tp);
      workload.time = estimate_time(sweep, workload, drawn.insert(weights).second);
    }
    workloads.push_back(std::move(workload));
  }
  return workloads;
}

}  // namespace fse
