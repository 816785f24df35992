#include "experiments/workload_group.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <new>

#include "core/error.h"
#include "experiments/interrupt.h"
#include "tuner/selection.h"

namespace fse {
namespace {

// One case on its way through the group.
struct Entry {
  const CaseRecord* record = nullptr;
  LayerPlan plan;
  std::unique_ptr<LayerRunner> layer;
  std::vector<Choice> choices;
  LayerCheck check;
};

std::string label(const Case& spec) {
  return fmt::format("{} {} tokens={} {}", spec.layer.model, to_name(spec.layer.dtype), spec.tokens,
                     to_label(spec.variant));
}

AttemptRecord layer_attempt(const RunContext& context, const Case& spec) {
  AttemptRecord record;
  record.case_id = case_id(spec);
  record.workload = context.ledger.workload;
  record.weight_sets = context.ledger.rotation.sets;
  record.rotation_shortfall_bytes = context.ledger.rotation.shortfall_bytes;
  return record;
}

void close_case(const RunContext& context, const Case& spec, const AttemptRecord& record) {
  context.ledger.store.finish_case(record.id, record);
  context.progress.case_done(label(spec), summarize(record.outcome.samples_us),
                             record.outcome.status == Status::measured, record.outcome.reason);
}

}  // namespace

void fail_case(const RunContext& context, const Case& spec, Outcome outcome) {
  AttemptRecord record = layer_attempt(context, spec);
  record.id =
      context.ledger.store.begin_attempt(context.ledger.study, context.ledger.environment, record);
  record.outcome = std::move(outcome);
  close_case(context, spec, record);
}

namespace {

void tune_entry(const RunContext& context, Entry& entry) {
  const DeviceInfo& device = context.bench.device();
  const TuneControl control{
      .stop = interrupted,
      .progress = [&](const AttemptRecord& record) { context.progress.attempt(record); },
      .seed = entry.record->spec.seed};
  entry.choices = default_choices(entry.plan, device);
  if (context.tune.strategy == Strategy::none) return;
  for (size_t i = 0; i < entry.plan.steps.size(); ++i) {
    const Step& step = entry.plan.steps[i];
    context.progress.activity(fmt::format("tuning {} tokens={}", step.name, entry.plan.tokens));
    if (auto known = recorded_choice(entry.plan, step, device, context.ledger, context.tune)) {
      entry.choices[i] = *known;
      continue;
    }
    const auto bench = entry.layer->open_step(i, entry.choices);
    entry.choices[i] =
        tune_step(*bench, entry.plan, step, device, context.tune, context.ledger, control);
  }
}

// Plans, tunes and verifies one case; nothing comes back when it failed, which is then recorded.
std::unique_ptr<Entry> prepare(const RunContext& context, const WorkloadGroup& group,
                               const CaseRecord& record) {
  const Case& spec = record.spec;
  auto entry = std::make_unique<Entry>();
  entry->record = &record;
  try {
    entry->plan =
        make_plan(spec.layer, group.shard, spec.variant, spec.tokens, context.bench.device());
    entry->layer = context.bench.open(spec.variant);
    tune_entry(context, *entry);
    context.progress.activity("verifying " + label(spec));
    entry->check = entry->layer->verify(entry->choices);
  } catch (const AttemptError& error) {
    fail_case(context, spec, {.status = error.status, .reason = error.what()});
    if (error.device_lost)
      throw Error(ErrorKind::environment,
                  fmt::format("{} is lost to this process: {}; the same command resumes",
                              context.bench.device().name, error.what()));
    return nullptr;
  } catch (const Error& error) {
    if (error.kind != ErrorKind::environment) throw;
    fail_case(context, spec, {.status = Status::launch_failed, .reason = error.what()});
    return nullptr;
  } catch (const std::bad_alloc&) {
    fail_case(context, spec,
              {.status = Status::out_of_memory,
               .reason = out_of_memory({&entry->plan, 1}, context.bench.device(),
                                       context.ledger.rotation.sets) +
                         " (an allocation failed)"});
    return nullptr;
  }
  if (entry->check.ok()) return entry;
  fail_case(
      context, spec,
      {.status = Status::wrong, .reason = entry->check.reason(), .accuracy = entry->check.output});
  return nullptr;
}

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
  describe_steps(entry, measured, loads, context.ledger, record);
  describe_load(entry.plan, loads, record);
  record.routing_agreement = static_cast<double>(entry.check.routing.equal) /
                             static_cast<double>(entry.check.routing.rows);
  return record;
}

// Measures the device's read bandwidth and peak rate once more, now that the machine is as busy as
// while the layers ran, and keeps the larger values: whatever else runs on it can only make a
// ceiling look lower than it is.
void raise_ceilings(RunContext& context) {
  Ledger& ledger = context.ledger;
  ledger.read_gbs = std::max(ledger.read_gbs, context.bench.measure_read_gbs());
  ledger.peak_gflops = std::max(ledger.peak_gflops, context.bench.measure_peak_gflops());
}

// What the router chose, as the first that can tell says; those that cannot fail.
std::vector<Load> tell_loads(const RunContext& context,
                             std::vector<std::unique_ptr<Entry>>& entries) {
  while (!entries.empty()) {
    Entry& first = *entries.front();
    try {
      return realised_loads({first.layer.get(), first.choices}, context.bench.inputs());
    } catch (const AttemptError& error) {
      if (error.device_lost) throw;
      fail_case(context, first.record->spec, {.status = error.status, .reason = error.what()});
      entries.erase(entries.begin());
    }
  }
  return {};
}

// A layer that reads faster than memory does is blamed only once the ceiling was measured again:
// whatever else runs on the machine can only make it look lower than it is.
void doubt(RunContext& context, AttemptRecord& record) {
  const Cache cache = context.measure.cache;
  for (int again = 0; again < 3 && beats_memory(record, cache); ++again) {
    raise_ceilings(context);
    record.read_gbs = context.ledger.read_gbs;
    record.peak_gflops = context.ledger.peak_gflops;
    record.floor_us = context.ledger.floor_us({record.bytes, record.flops});
  }
  const double median_us = summarize(record.outcome.samples_us).median;
  record.outcome.reason =
      suspicion(record, cache, context.ledger.store.layers_that_took(median_us, record.id));
  if (!record.outcome.reason.empty()) record.outcome.status = Status::suspect;
}

void measure_entries(RunContext& context, std::vector<std::unique_ptr<Entry>> entries) {
  const std::vector<Load> loads = tell_loads(context, entries);
  if (entries.empty()) return;
  std::vector<Contestant> contestants;
  std::vector<AttemptRecord> records;
  for (const auto& entry : entries) {
    contestants.push_back({entry->layer.get(), entry->choices});
    AttemptRecord record = layer_attempt(context, entry->record->spec);
    record.id = context.ledger.store.begin_attempt(context.ledger.study, context.ledger.environment,
                                                   record);
    records.push_back(std::move(record));
  }
  const Case& spec = entries.front()->record->spec;
  context.progress.activity(
      fmt::format("measuring {} variants tokens={}", entries.size(), spec.tokens));
  contestants.push_back(contestants.front());  // the A/A control
  const std::vector<LayerMeasurement> measured =
      measure_layers(contestants, context.measure, spec.seed, interrupted);
  raise_ceilings(context);
  for (size_t i = 0; i < entries.size(); ++i) {
    AttemptRecord& record = records[i];
    if (measured[i].failure) {
      record.outcome = *measured[i].failure;
    } else {
      record = describe(context, *entries[i], measured[i], loads, std::move(record));
      if (i == 0 && !measured.back().failure) record.control_us = measured.back().layer_us;
      doubt(context, record);
    }
    close_case(context, entries[i]->record->spec, record);
  }
}

}  // namespace

std::string gigabytes(int64_t bytes) {
  return fmt::format("{:.2f} GB", static_cast<double>(bytes) / 1e9);
}

std::string workload_key(const Case& spec) {
  const bool trace = spec.routing.kind == RoutingKind::trace;
  return fmt::format("routing={} cache={} seed={}",
                     trace ? "trace:" + spec.routing.trace_hash : to_text(spec.routing),
                     to_name(spec.cache), spec.seed);
}

std::string out_of_memory(std::span<const LayerPlan> plans, const DeviceInfo& device, int sets) {
  const LayerPlan& first = plans.front();
  const int64_t weights = random_weights_bytes(first.layer, first.shard, sets);
  int64_t buffers = kMostInputBytes, reference = 0;
  for (const LayerPlan& plan : plans) {
    buffers += buffer_bytes(plan);
    reference = std::max(reference, reference_bytes(plan));
  }
  const int64_t needed = weights + buffers + reference;
  if (needed <= device.memory_bytes) return {};
  return fmt::format(
      "needs {} (weights {}, buffers and inputs of {} variants {}, reference {}), {} has {}",
      gigabytes(needed), gigabytes(weights), plans.size(), gigabytes(buffers), gigabytes(reference),
      device.name, gigabytes(device.memory_bytes));
}

void run_group(RunContext& context, const WorkloadGroup& group) {
  const Case& first = group.cases.front().spec;
  context.progress.activity(fmt::format("drawing {} tokens={}", first.layer.model, first.tokens));
  try {
    context.bench.set_workload({.spec = first,
                                .sets = context.ledger.rotation.sets,
                                .rounds = context.measure.min_rounds});
  } catch (const AttemptError& error) {
    for (const CaseRecord& record : group.cases)
      fail_case(context, record.spec, {.status = error.status, .reason = error.what()});
    return;
  }
  std::vector<std::unique_ptr<Entry>> entries;
  for (const CaseRecord& record : group.cases)
    if (auto entry = prepare(context, group, record)) entries.push_back(std::move(entry));
  measure_entries(context, std::move(entries));
}

}  // namespace fse
