#include "experiments/workload_group.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <new>

#include "core/error.h"
#include "experiments/interrupt.h"
#include "experiments/layer_race.h"
#include "tuner/joint.h"

namespace fse {

void fail_case(const RunContext& context, const Case& spec, Outcome outcome,
               std::vector<JointTrial> trials) {
  AttemptRecord record = layer_attempt(context, spec);
  record.trials = std::move(trials);
  record.id =
      context.ledger.store.begin_attempt(context.ledger.study, context.ledger.environment, record);
  record.outcome = std::move(outcome);
  close_case(context, spec, record);
}

namespace {

// Whole layers of what came close, for a quarter of the time that one step's search may take.
void tune_jointly(const RunContext& context, Entry& entry) {
  constexpr size_t kMost = 4;
  const DeviceInfo& device = context.bench.device();
  const Case& spec = entry.record->spec;
  const double seconds = std::clamp(context.tune.seconds.value_or(4) / 4, 0.2, 2.0);
  const std::vector<Alternative> close =
      close_alternatives(entry.plan, entry.choices, device, context.ledger, context.tune, kMost);
  context.progress.activity("tuning jointly " + label(spec));
  entry.joint = search_jointly(
      *entry.layer, entry.plan, entry.choices, close,
      layer_incumbent(entry.plan, case_id(spec), device, context.ledger, context.tune), spec.seed,
      seconds, interrupted);
}

// The default tiles where all that was tuned is wrong as a whole, although each step is right.
std::vector<Combination> combinations(const Entry& entry, const DeviceInfo& device) {
  std::vector<Combination> all = entry.joint.best_first;
  if (all.empty()) return {{"default tiles", entry.choices}};
  Combination last{"default tiles", default_choices(entry.plan, device)};
  if (all.back().choices != last.choices) all.push_back(std::move(last));
  return all;
}

// Verifies whole layers, the best first, until one is right: a kernel that is right alone and wrong
// within the layer costs its tile, not the case. What failed is kept by its kind. Throws, or leaves
// a check that is not ok, where the last one fails, too.
void verify_best(const RunContext& context, Entry& entry) {
  const std::vector<Combination> all = combinations(entry, context.bench.device());
  for (const Combination& c : all) {
    const bool is_last = &c == &all.back();
    Outcome failure{.status = Status::wrong};
    try {
      entry.check = entry.layer->verify(c.choices);
      failure.reason = entry.check.reason();
    } catch (const AttemptError& error) {
      if (error.device_lost || is_last) throw;
      failure = {.status = error.status, .reason = error.what()};
      entry.check.output.first_bad = failure.reason;
    }
    entry.choices = c.choices;
    if (entry.check.ok()) return take(entry.joint, entry.plan, c);
    reject(entry.joint, c, failure);
  }
}

void tune_entry(RunContext& context, Entry& entry) {
  const DeviceInfo& device = context.bench.device();
  const TuneControl control{
      .stop = interrupted,
      .progress = [&](const AttemptRecord& record) { context.progress.attempt(record); },
      .raise_ceilings = [&] { raise_ceilings(context); },
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
  tune_jointly(context, entry);
}

// Plans, tunes and verifies one case; nothing comes back when it failed, which is then recorded.
std::unique_ptr<Entry> prepare(RunContext& context, const WorkloadGroup& group,
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
    verify_best(context, *entry);
  } catch (const AttemptError& error) {
    fail_case(context, spec, {.status = error.status, .reason = error.what()}, entry->joint.trials);
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
      {.status = Status::wrong, .reason = entry->check.reason(), .accuracy = entry->check.output},
      entry->joint.trials);
  return nullptr;
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
  race_layers(context, std::move(entries));
}

}  // namespace fse
