#include "experiments/describe_layer.h"

#include <functional>

namespace fse {
namespace {

// Loads were read from one contestant; another variant has the same routed rows, and its slots get
// every token.
Load load_for(const LayerPlan& plan, const Load& realised) {
  Load load = realised;
  load.rows_per_expert.resize(static_cast<size_t>(plan.layer.routing.experts));
  load.rows_per_expert.resize(static_cast<size_t>(plan.expert_count()), plan.tokens);
  return load;
}

Work mean_work(const std::vector<Load>& loads, const std::function<Work(const Load&)>& work_of) {
  Work mean;
  for (const Load& load : loads) {
    const Work work = work_of(load);
    mean.bytes += work.bytes / static_cast<double>(loads.size());
    mean.flops += work.flops / static_cast<double>(loads.size());
  }
  return mean;
}

void describe_load(const LayerPlan& plan, const std::vector<Load>& loads, AttemptRecord& record) {
  record.load_histogram = load_for(plan, loads.front()).rows_per_expert;
  const auto rounds = static_cast<double>(loads.size());
  record.load_rounds = static_cast<int64_t>(loads.size());
  for (const Load& load : loads) {
    Load routed = load;
    routed.rows_per_expert.resize(static_cast<size_t>(plan.layer.routing.experts));
    const double mean = static_cast<double>(routed.pairs()) / plan.layer.routing.experts;
    record.distinct_experts += static_cast<double>(routed.active()) / rounds;
    record.max_over_mean_load += static_cast<double>(routed.busiest()) / mean / rounds;
  }
}

void describe_steps(const Entry& entry, const LayerMeasurement& measured,
                    const std::vector<Load>& loads, const Ledger& ledger, AttemptRecord& record) {
  for (size_t i = 0; i < entry.plan.steps.size(); ++i) {
    const Step& step = entry.plan.steps[i];
    const Work work = mean_work(loads, [&](const Load& load) {
      return step_work(entry.plan, step, load_for(entry.plan, load));
    });
    record.steps.push_back({.step = step.name,
                            .op = to_name(step.op),
                            .kernel = entry.choices[i].kernel->name,
                            .tile = entry.choices[i].tile,
                            .time_us = summarize(measured.step_us[i]),
                            .bytes = work.bytes,
                            .flops = work.flops,
                            .floor_us = ledger.floor_us(work)});
  }
}

}  // namespace

AttemptRecord describe(const RunContext& context, const Entry& entry,
                       const LayerMeasurement& measured, const std::vector<Load>& loads,
                       AttemptRecord record) {
  const Work work = mean_work(
      loads, [&](const Load& load) { return layer_work(entry.plan, load_for(entry.plan, load)); });
  record.bytes = work.bytes;
  record.flops = work.flops;
  record.floor_us = context.ledger.floor_us(work);
  record.read_gbs = context.ledger.read_gbs;
  record.peak_gflops = context.ledger.peak_gflops;
  record.outcome = {.status = Status::measured,
                    .reason = {},
                    .accuracy = entry.check.output,
                    .samples_us = measured.layer_us};
  record.trials = entry.joint.trials;
  describe_steps(entry, measured, loads, context.ledger, record);
  describe_load(entry.plan, loads, record);
  record.routing_agreement = static_cast<double>(entry.check.routing.equal) /
                             static_cast<double>(entry.check.routing.rows);
  return record;
}

}  // namespace fse
