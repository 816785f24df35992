#include "tuner/joint.h"

#include <doctest/doctest.h>

#include "core/rng.h"
#include "small_layer.h"
#include "tests/temporary_folder.h"

using namespace fse;

namespace {

// A layer whose time is a function of its choices, with 1 % of noise.
class MadeLayer final : public LayerRunner {
 public:
  explicit MadeLayer(std::function<double(std::span<const Choice>)> us) : us_(std::move(us)) {}
  std::unique_ptr<StepRunner> open_step(size_t, std::span<const Choice>) override { return {}; }
  LayerCheck verify(std::span<const Choice>) override { return {}; }
  RunTimes run(std::span<const Choice> choices, int, int) override {
    ++runs;
    return {us_(choices) * (1 + 0.01 * rng_.uniform()), std::vector<double>(choices.size(), 1.0)};
  }
  Load load(std::span<const Choice>, int) override { return {}; }
  int runs = 0;

 private:
  std::function<double(std::span<const Choice>)> us_;
  Rng rng_{1};
};

struct Space {
  LayerPlan plan = legal_plans(small_layer(), 3).front();
  std::vector<Choice> winners = default_choices(plan, kTestDevice);
  size_t stage1 = place(Op::grouped_stage1), stage2 = place(Op::grouped_stage2);

  size_t place(Op op) const {
    size_t i = 0;
    while (plan.steps[i].op != op) ++i;
    return i;
  }
  std::vector<Choice> tiles(size_t step) const {
    return candidates(plan, plan.steps[step], kTestDevice, {});
  }
  Alternative alternative(size_t step, size_t tile) const { return {step, tiles(step)[tile]}; }
  // With the best of what was found taken.
  JointResult search(MadeLayer& layer, const std::vector<Alternative>& alternatives,
                     std::optional<Combination> incumbent = {}) const {
    JointResult result = search_jointly(layer, plan, winners, alternatives, std::move(incumbent), 1,
                                        0.05, [] { return false; });
    take(result, plan, result.best_first.front());
    return result;
  }
};

}  // namespace

TEST_CASE("joint: two tiles that only gain within the layer both win") {
  const Space space;
  const Alternative a = space.alternative(space.stage1, 1), b = space.alternative(space.stage2, 2);
  const Alternative worse = space.alternative(space.stage1, 3);
  MadeLayer layer([&](std::span<const Choice> choices) {
    double us = 100;
    if (choices[space.stage1] == a.choice) us -= 10;
    if (choices[space.stage2] == b.choice) us -= 5;
    if (choices[space.stage1] == worse.choice) us += 5;
    return us;
  });
  const JointResult result = space.search(layer, {worse, a, b});
  CHECK(result.best_first.front().choices[space.stage1] == a.choice);
  CHECK(result.best_first.front().choices[space.stage2] == b.choice);
  REQUIRE(result.trials.size() == 3);
  CHECK_FALSE(result.trials[0].taken);
  CHECK(result.trials[1].taken);
  CHECK(result.trials[2].taken);
  CHECK(result.trials[1].ratio.median == doctest::Approx(0.9).epsilon(0.02));
  CHECK(result.trials[1].ratio.n >= 6);
  CHECK(result.trials[0].step == "grouped_stage1");
}

TEST_CASE("joint: of two tiles for one step the better is taken") {
  const Space space;
  const Alternative good = space.alternative(space.stage1, 1);
  const Alternative best = space.alternative(space.stage1, 2);
  MadeLayer layer([&](std::span<const Choice> choices) {
    const Choice& c = choices[space.stage1];
    return c == best.choice ? 80.0 : c == good.choice ? 90.0 : 100.0;
  });
  const JointResult result = space.search(layer, {good, best});
  CHECK(result.best_first.front().choices[space.stage1] == best.choice);
  CHECK_FALSE(result.trials[0].taken);
}

TEST_CASE("joint: tiles that gain alone and lose together are not taken") {
  const Space space;
  const Alternative a = space.alternative(space.stage1, 1), b = space.alternative(space.stage2, 2);
  MadeLayer layer([&](std::span<const Choice> choices) {
    const bool with_a = choices[space.stage1] == a.choice;
    const bool with_b = choices[space.stage2] == b.choice;
    return with_a && with_b ? 120.0 : with_a || with_b ? 90.0 : 100.0;
  });
  const JointResult result = space.search(layer, {a, b});
  CHECK(result.best_first.front().choices[space.stage1] == space.winners[space.stage1]);
  for (const JointTrial& trial : result.trials) CHECK_FALSE(trial.taken);
}

TEST_CASE("joint: equal tiles are rarely taken for a gain") {
  const Space space;
  const Alternative a = space.alternative(space.stage1, 1), b = space.alternative(space.stage2, 2);
  MadeLayer layer([](std::span<const Choice>) { return 100.0; });
  int taken = 0;
  for (int i = 0; i < 50; ++i)
    for (const JointTrial& trial : space.search(layer, {a, b}).trials) taken += trial.taken;
  CHECK(taken <= 2);
}

TEST_CASE("joint: a layer that fails is out, and nothing is measured without alternatives") {
  const Space space;
  const Alternative a = space.alternative(space.stage1, 1), b = space.alternative(space.stage2, 2);
  MadeLayer layer([&](std::span<const Choice> choices) {
    if (choices[space.stage1] == a.choice) throw AttemptError(Status::launch_failed, "no", false);
    return choices[space.stage2] == b.choice ? 90.0 : 100.0;
  });
  const JointResult result = space.search(layer, {a, b});
  CHECK(result.best_first.front().choices[space.stage1] == space.winners[space.stage1]);
  CHECK(result.best_first.front().choices[space.stage2] == b.choice);
  CHECK(result.trials[0].status == Status::launch_failed);
  CHECK(result.trials[0].reason == "no");
  layer.runs = 0;
  CHECK(space.search(layer, {}).trials.empty());
  CHECK(layer.runs == 0);
}

TEST_CASE("joint: a layer that is not right is left for the next best, and kept by its kind") {
  const Space space;
  const Alternative a = space.alternative(space.stage1, 1), b = space.alternative(space.stage2, 2);
  MadeLayer layer([&](std::span<const Choice> choices) {
    return 100.0 - (choices[space.stage1] == a.choice ? 5 : 0) -
           (choices[space.stage2] == b.choice ? 10 : 0);
  });
  JointResult result = space.search(layer, {a, b});
  REQUIRE(result.best_first.size() == 4);
  CHECK(result.best_first[0].name == "the joint winners");
  CHECK(result.best_first[1].choices[space.stage2] == b.choice);  // the better of the two alone
  CHECK(result.best_first[1].choices[space.stage1] == space.winners[space.stage1]);
  CHECK(result.best_first[2].choices[space.stage1] == a.choice);
  CHECK(result.best_first[3].choices == space.winners);
  reject(result, result.best_first[0], {.status = Status::wrong, .reason = "out[0,0] is 1"});
  take(result, space.plan, result.best_first[1]);
  REQUIRE(result.trials.size() == 3);
  CHECK_FALSE(result.trials[0].taken);
  CHECK(result.trials[1].taken);
  CHECK(result.trials[2].step == kWholeLayer);
  CHECK(result.trials[2].kernel == "the joint winners");
  CHECK(result.trials[2].status == Status::wrong);
  CHECK(result.trials[2].reason == "out[0,0] is 1");
}

TEST_CASE("joint: the layer that won for an earlier study competes, and wins where it is faster") {
  const Space space;
  const Alternative a = space.alternative(space.stage1, 1);
  Combination incumbent{"the winner of study old, 2026-11-25", space.winners};
  incumbent.choices[space.stage1] = space.tiles(space.stage1)[2];
  for (const double us : {80.0, 95.0, 120.0}) {
    CAPTURE(us);
    MadeLayer layer([&](std::span<const Choice> choices) {
      const Choice& c = choices[space.stage1];
      return c == incumbent.choices[space.stage1] ? us : c == a.choice ? 90.0 : 100.0;
    });
    const JointResult result = space.search(layer, {a}, incumbent);
    CHECK((result.best_first.front().choices == incumbent.choices) == (us < 90));
    REQUIRE(result.trials.size() == 2);
    CHECK(result.trials[1].kernel == incumbent.name);
    CHECK(result.trials[1].taken == (us < 90));
    CHECK(result.trials[1].ratio.median == doctest::Approx(us / 100).epsilon(0.02));
  }
  MadeLayer same([](std::span<const Choice>) { return 100.0; });
  CHECK(space.search(same, {}, Combination{"it", space.winners}).trials.empty());
  CHECK(same.runs == 0);
}

TEST_CASE("joint: what came within 5 % of a step's winner is an alternative, the longest first") {
  const Space space;
  const test::TemporaryFolder folder;
  Store store = Store::create_or_open(folder / "j.db");
  Ledger ledger{.store = store, .workload = "w"};
  ledger.environment = store.add_environment({.device = kTestDevice});
  ledger.study = store.add_study({.name = "joint", .plan_hash = "0"}, {});
  const auto add = [&](size_t step, const Choice& choice, double us, size_t samples = 6) {
    AttemptRecord a;
    a.step_key = step_key(space.plan, space.plan.steps[step]);
    a.workload = "w";
    a.kernel = choice.kernel->name;
    a.tile = choice.tile;
    a.outcome.status = Status::measured;
    a.outcome.samples_us.assign(samples, us);
    a.id = store.begin_attempt(ledger.study, ledger.environment, a);
    store.finish_attempt(a.id, a);
  };
  const auto one = space.tiles(space.stage1), two = space.tiles(space.stage2);
  add(space.stage1, one[0], 50);
  add(space.stage1, one[1], 52);
  add(space.stage1, one[2], 51);
  add(space.stage1, one[3], 60);     // too slow
  add(space.stage1, one[4], 50, 3);  // too few samples
  add(space.stage2, two[0], 200);
  add(space.stage2, two[1], 250);
  add(space.stage2, two[1], 205);  // the latest counts
  const auto close = close_alternatives(space.plan, space.winners, kTestDevice, ledger, {}, 10);
  REQUIRE(close.size() == 3);
  CHECK(close[0].step == space.stage2);
  CHECK(close[0].choice == two[1]);
  CHECK(close[1].choice == one[2]);
  CHECK(close[2].choice == one[1]);
  CHECK(close_alternatives(space.plan, space.winners, kTestDevice, ledger, {}, 2).size() == 2);
}
