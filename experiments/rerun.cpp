#include "experiments/rerun.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/version.h"
#include "experiments/device_choice.h"
#include "experiments/interrupt.h"
#include "experiments/workload_group.h"
#include "tuner/attempt.h"
#include "tuner/measure.h"
#include "tuner/workbench.h"

namespace fse {
namespace {

// What an attempt ran: a layer, or one step of it.
struct Subject {
  Case spec;
  LayerPlan plan;
  std::optional<size_t> step;
};

Choice choice_of(const std::string& kernel, const Tile& tile, int64_t attempt) {
  if (const KernelDef* found = find_kernel(kernel)) return {found, tile};
  fail_usage(
      fmt::format("attempt {}: this fselab has no kernel '{}', expected one of the "
                  "catalogue (fselab kernels ls)",
                  attempt, kernel));
}

// A step's attempt belongs to no case: any case of its study and workload that has the step will
// do, because all of them give it the same work.
Subject find_step(const Store& store, const Store::StoredAttempt& found, const DeviceInfo& device) {
  for (const CaseRecord& c : store.cases(found.study)) {
    if (c.state == CaseState::refused || workload_key(c.spec) != found.record.workload) continue;
    LayerPlan plan = make_plan(c.spec, device);
    for (size_t i = 0; i < plan.steps.size(); ++i)
      if (step_key(plan, plan.steps[i]) == found.record.step_key)
        return {.spec = c.spec, .plan = std::move(plan), .step = i};
  }
  fail_usage(fmt::format("attempt {}: no case of its study has the step '{}' on {}, expected one",
                         found.record.id, found.record.step_key, device.name));
}

Subject find_layer(const Store& store, const Store::StoredAttempt& found,
                   const DeviceInfo& device) {
  const AttemptRecord& a = found.record;
  for (const CaseRecord& c : store.cases(found.study)) {
    if (case_id(c.spec) != a.case_id) continue;
    Subject subject{.spec = c.spec, .plan = make_plan(c.spec, device), .step = {}};
    const bool same = std::equal(
        a.steps.begin(), a.steps.end(), subject.plan.steps.begin(), subject.plan.steps.end(),
        [](const StepTime& was, const Step& is) { return was.step == is.name; });
    if (same) return subject;
    fail_usage(
        fmt::format("attempt {}: its row holds {} steps, the layer has {}: it never ran, or "
                    "another fselab ran it; expected an attempt that was measured",
                    a.id, a.steps.size(), subject.plan.steps.size()));
  }
  throw Error(ErrorKind::data,
              fmt::format("attempt {}: its case {} is not in its study", a.id, a.case_id));
}

Outcome measure_step(LayerRunner& layer, const Subject& subject, const AttemptRecord& was,
                     const DeviceInfo& device, int rounds) {
  const Choice choice = choice_of(was.kernel, was.tile, was.id);
  const Step& step = subject.plan.steps[*subject.step];
  for (const std::string& why : {choice.kernel->legal(choice.tile),
                                 choice.kernel->fits(choice.tile, subject.plan, step, device)})
    if (!why.empty()) return {.status = Status::illegal, .reason = why};
  const auto bench = layer.open_step(*subject.step, default_choices(subject.plan, device));
  Outcome now = verified(*bench, choice);
  if (now.status != Status::measured) return now;
  for (int round = 0; round < rounds && !interrupted(); ++round)
    now.samples_us.push_back(bench->time_us(choice, round, Stage::finals));
  return now;
}

Outcome measure_layer(LayerRunner& layer, const Subject& subject, const AttemptRecord& was,
                      int rounds) {
  std::vector<Choice> choices;
  for (const StepTime& s : was.steps) choices.push_back(choice_of(s.kernel, s.tile, was.id));
  const LayerCheck check = layer.verify(choices);
  if (!check.ok())
    return {.status = Status::wrong, .reason = check.reason(), .accuracy = check.output};
  const Contestant alone{&layer, choices};
  const MeasureSpec spec{
      .cache = subject.spec.cache, .min_rounds = rounds, .interval = 1e9, .max_seconds = 0};
  return {.status = Status::measured,
          .reason = {},
          .accuracy = check.output,
          .samples_us =
              measure_layers({&alone, 1}, spec, subject.spec.seed, interrupted).front().layer_us};
}

Outcome measure_again(Workbench& bench, const Subject& subject, const AttemptRecord& was) {
  const int rounds = static_cast<int>(std::max<int64_t>(6, was.time_us.n));
  const int sets = std::max(1, was.weight_sets);
  const std::string why = out_of_memory({&subject.plan, 1}, bench.device(), sets);
  if (!why.empty()) return {.status = Status::out_of_memory, .reason = why};
  bench.set_workload({.spec = subject.spec, .sets = sets, .rounds = rounds});
  try {
    const auto layer = bench.open(subject.spec.variant);
    return subject.step ? measure_step(*layer, subject, was, bench.device(), rounds)
                        : measure_layer(*layer, subject, was, rounds);
  } catch (const AttemptError& error) {
    return {.status = error.status, .reason = error.what()};
  }
}

Grid side_by_side(const Subject& subject, const AttemptRecord& was, const Environment& then,
                  const Outcome& now, const DeviceInfo& device) {
  const Summary time = summarize(now.samples_us);
  const Comparison change = compare_summaries(time, was.time_us);
  Grid grid{.columns = {"what", "recorded", "now"}, .rows = {}};
  const auto add = [&](const char* what, Cell recorded, Cell current) {
    grid.rows.push_back({std::string(what), std::move(recorded), std::move(current)});
  };
  const std::string what = subject.step
                               ? was.step_key + ": " + choice_text(was.kernel, was.tile)
                               : fmt::format("{} tokens={} {}", subject.spec.layer.model,
                                             subject.spec.tokens, to_label(subject.spec.variant));
  add("what", what, what);
  add("status", to_name(was.outcome.status), to_name(now.status));
  add("reason", was.outcome.reason, now.reason);
  add("time_us", cell(was.time_us.median), cell(time.median));
  add("lo_us", cell(was.time_us.lo), cell(time.lo));
  add("hi_us", cell(was.time_us.hi), cell(time.hi));
  add("n", was.time_us.n, time.n);
  add("rel_frobenius", cell(was.outcome.accuracy.rel_frobenius), cell(now.accuracy.rel_frobenius));
  add("bound", cell(was.outcome.accuracy.bound), cell(now.accuracy.bound));
  add("change_percent", {}, cell(100 * (change.ratio.median - 1)));
  add("verdict", {}, to_name(change.verdict));
  add("device", then.device.name + ": " + then.device.product, device.name + ": " + device.product);
  add("git_revision", then.git_revision, std::string(git_revision()));
  return grid;
}

}  // namespace

Rerun rerun_attempt(const Store& store, int64_t attempt) {
  const auto found = store.attempt(attempt);
  if (!found)
    fail_usage(
        fmt::format("{}: no attempt {} that ended, expected a number of `fselab db top` or "
                    "`fselab db show`",
                    store.file(), attempt));
  const Environment then = store.environment(found->record.environment);
  const auto bench = open_workbench(open_device(then.device.name));
  const Subject subject = found->record.case_id.empty()
                              ? find_step(store, *found, bench->device())
                              : find_layer(store, *found, bench->device());
  catch_interrupts();
  const Outcome now = measure_again(*bench, subject, found->record);
  return {.grid = side_by_side(subject, found->record, then, now, bench->device()),
          .same_end = now.status == found->record.outcome.status};
}

}  // namespace fse
