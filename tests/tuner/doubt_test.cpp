#include "tuner/doubt.h"

#include <doctest/doctest.h>

#include "small_layer.h"
#include "tests/temporary_folder.h"

using namespace fse;

namespace {

// A store, and attempts at the first grouped step of a layer that are written to it.
struct Steps {
  test::TemporaryFolder folder;
  Store store = Store::create_or_open(folder / "doubt.db");
  Ledger ledger{.store = store, .workload = "w", .read_gbs = 10};
  TuneControl control;
  int raised = 0;

  Steps() {
    ledger.environment = store.add_environment({.device = kTestDevice});
    ledger.study = store.add_study({.name = "doubt", .plan_hash = "0"}, {});
    control.raise_ceilings = [this] { ++raised; };
  }
  static LayerPlan plan(int tokens) { return legal_plans(small_layer(), tokens).front(); }
  static const Step& step(const LayerPlan& plan) {
    size_t i = 0;
    while (plan.steps[i].op != Op::grouped_stage1) ++i;
    return plan.steps[i];
  }
  AttemptRecord begin(const LayerPlan& plan, std::vector<double> us) {
    AttemptRecord a;
    a.step_key = step_key(plan, step(plan));
    a.workload = "w";
    a.kernel = "cpu.grouped_stage1.stream";
    a.outcome.status = Status::measured;
    a.outcome.samples_us = std::move(us);
    a.id = store.begin_attempt(ledger.study, ledger.environment, a);
    return a;
  }
};

}  // namespace

TEST_CASE("doubt: only what cannot lie in a cache counts as read from memory") {
  const LayerPlan plan = Steps::plan(3);
  const Step& step = Steps::step(plan);
  double reads = 0, writes = 0;
  for (const Buf id : step.reads) reads += static_cast<double>(plan.find(id)->bytes());
  for (const Buf id : step.writes) writes += static_cast<double>(plan.find(id)->bytes());
  CHECK(memory_bytes(plan, step, 1e6, Cache::cold_weights) == 1e6 - reads - writes);
  CHECK(memory_bytes(plan, step, 1e6, Cache::cold_all) == 1e6 - writes);
  CHECK(memory_bytes(plan, step, 1, Cache::cold_all) == 0);
}

TEST_CASE("doubt: a step that beats memory is blamed after the ceiling was measured again") {
  Steps steps;
  const LayerPlan plan = Steps::plan(3);
  AttemptRecord a = steps.begin(plan, std::vector<double>(6, 10.0));
  a.bytes = 1e6;
  a.read_gbs = 10;
  AttemptRecord slow = a;
  slow.outcome.samples_us.assign(6, 100.0);
  doubt(slow, plan, Steps::step(plan), steps.ledger, steps.control);
  CHECK(slow.outcome.status == Status::measured);
  CHECK(steps.raised == 0);
  doubt(a, plan, Steps::step(plan), steps.ledger, steps.control);
  CHECK(a.outcome.status == Status::suspect);
  CHECK(a.outcome.reason.find("GB/s are read, more than 1.02 of the 10.0 GB/s") !=
        std::string::npos);
  CHECK(a.outcome.samples_us.size() == 6);
  CHECK(steps.raised == 3);
}

TEST_CASE("doubt: a ceiling that was measured too low is raised, and nobody is blamed") {
  Steps steps;
  const LayerPlan plan = Steps::plan(3);
  steps.control.raise_ceilings = [&] { steps.ledger.read_gbs = 200; };
  AttemptRecord a = steps.begin(plan, std::vector<double>(6, 10.0));
  a.bytes = 1e6;
  a.read_gbs = 10;
  doubt(a, plan, Steps::step(plan), steps.ledger, steps.control);
  CHECK(a.outcome.status == Status::measured);
  CHECK(a.read_gbs == 200);
}

TEST_CASE("doubt: the very samples of another token count are suspect, few values are not") {
  Steps steps;
  const LayerPlan three = Steps::plan(3), four = Steps::plan(4);
  const std::vector<double> us{100, 101, 102, 103, 104, 105};
  const AttemptRecord twin = steps.begin(three, us);
  steps.store.finish_attempt(twin.id, twin);
  AttemptRecord copy = steps.begin(four, us);
  doubt(copy, four, Steps::step(four), steps.ledger, steps.control);
  CHECK(copy.outcome.status == Status::suspect);
  CHECK(copy.outcome.reason.find("another token count") != std::string::npos);
  // The same step once more is no twin.
  AttemptRecord again = steps.begin(three, us);
  doubt(again, three, Steps::step(three), steps.ledger, steps.control);
  CHECK(again.outcome.status == Status::measured);
  // A coarse clock repeats itself.
  const std::vector<double> coarse{4, 4, 5, 4, 5, 4};
  const AttemptRecord first = steps.begin(three, coarse);
  steps.store.finish_attempt(first.id, first);
  AttemptRecord chance = steps.begin(four, coarse);
  doubt(chance, four, Steps::step(four), steps.ledger, steps.control);
  CHECK(chance.outcome.status == Status::measured);
}
