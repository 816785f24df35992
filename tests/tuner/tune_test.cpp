#include "tuner/tune.h"

#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>
#include <set>
#include <thread>
#include <utility>

#include "core/error.h"
#include "reference_session.h"
#include "small_layer.h"
#include "tests/temporary_folder.h"
#include "tuner/step_bench.h"

using namespace fse;

namespace {

// A search of grouped_stage1 whose tile times are a function of the tile's place in the space.
struct Bench {
  LayerSpec layer = small_layer();
  Workload workload = small_workload(layer, 3);
  LayerPlan plan = legal_plans(layer, 3).front();
  DeviceInfo device = kTestDevice;
  ReferenceSession session{plan, workload.sets};
  test::TemporaryFolder folder;
  Store store;
  Ledger ledger;
  size_t step = 0;
  std::vector<Choice> all;
  std::vector<AttemptRecord> attempts;
  TuneControl control;

  Bench() : store(Store::create_or_open(folder / "tune.db")), ledger{.store = store} {
    device.compute_units = 2;
    device.memory_bytes = int64_t{1} << 30;
    device.llc_bytes = 1 << 20;
    ledger.environment =
        store.add_environment({.device = device, .read_gbs = 10, .peak_gflops = 10});
    ledger.study = store.add_study({.name = "tune", .plan_hash = "0"}, {});
    ledger.workload = "routing=uniform cache=cold_weights seed=1";
    ledger.read_gbs = ledger.peak_gflops = 10;
    for (step = 0; plan.steps[step].op != Op::grouped_stage1;) ++step;
    all = candidates(plan, plan.steps[step], device, {});
    REQUIRE(all.size() >= 6);
    session.time_us = [this](int, const Choice& choice, int) { return time_of(choice); };
    control.progress = [this](const AttemptRecord& record) { attempts.push_back(record); };
  }

  size_t place(const Choice& choice) const {
    for (size_t i = 0; i < all.size(); ++i)
      if (all[i] == choice) return i;
    return all.size();
  }
  // The third tile is the fastest; the others get slower by 1 us each.
  double time_of(const Choice& choice) const {
    const size_t i = place(choice);
    return i == 2 ? 50 : 100 + static_cast<double>(i);
  }
  Choice tune(const TuneSpec& spec) {
    StepBench bench(session, plan, step, std::vector<Choice>(plan.steps.size()), workload);
    return tune_step(bench, plan, plan.steps[step], device, spec, ledger, control);
  }
  std::set<size_t> tried() const {
    std::set<size_t> places;
    for (const AttemptRecord& a : attempts)
      for (size_t i = 0; i < all.size(); ++i)
        if (all[i].kernel->name == a.kernel && all[i].tile == a.tile) places.insert(i);
    return places;
  }
};

}  // namespace

TEST_CASE("an exhaustive search tries every tile and finds the fastest") {
  Bench bench;
  const Choice best = bench.tune({.strategy = Strategy::exhaustive});
  CHECK(bench.place(best) == 2);
  CHECK(bench.tried().size() == bench.all.size());
  const auto winner = bench.store.step_winner(bench.ledger.study,
                                              step_key(bench.plan, bench.plan.steps[bench.step]),
                                              bench.ledger.workload, bench.ledger.environment);
  REQUIRE(winner);
  CHECK(winner->tile == best.tile);
  CHECK(winner->time_us.median == 50);
  CHECK(winner->time_us.n >= 6);
}

TEST_CASE("a budget of evaluations holds, the default among them; the same seed tries the same") {
  Bench bench;
  bench.tune({.strategy = Strategy::random, .evaluations = 4});
  const std::set<size_t> first = bench.tried();
  CHECK(first.size() == 4);
  CHECK(first.count(0) == 1);
  Bench again;
  again.tune({.strategy = Strategy::random, .evaluations = 4});
  CHECK(again.tried() == first);
}

TEST_CASE("a fraction of the space is rounded up") {
  Bench bench;
  bench.tune({.strategy = Strategy::random, .fraction = 1e-6});
  CHECK(bench.tried() == std::set<size_t>{0});
}

TEST_CASE("the first budget that is reached ends a search") {
  Bench bench;
  bench.tune({.strategy = Strategy::exhaustive, .evaluations = 100, .no_gain = 3});
  // The third is the fastest: three more find nothing.
  CHECK(bench.tried() == std::set<size_t>{0, 1, 2, 3, 4, 5});
  Bench fewer;
  fewer.tune({.strategy = Strategy::exhaustive, .evaluations = 4, .no_gain = 3});
  CHECK(fewer.tried() == std::set<size_t>{0, 1, 2, 3});
}

TEST_CASE("every strategy tries the default, and all tiles where it may") {
  for (const auto& [strategy, name] : kNames<Strategy>) {
    CAPTURE(name);
    Bench bench;
    const Choice best = bench.tune({.strategy = strategy});
    CHECK(bench.tried().count(0) == 1);
    if (strategy == Strategy::none) continue;
    CHECK(bench.tried().size() == bench.all.size());
    CHECK(bench.place(best) == 2);
  }
}

TEST_CASE("B4: a tile that reads faster than memory is kept as suspect and never wins") {
  Bench bench;
  bench.session.time_us = [&](int, const Choice& choice, int) {
    return bench.place(choice) == 2 ? 0.5 : bench.time_of(choice);
  };
  CHECK(bench.place(bench.tune({.strategy = Strategy::exhaustive})) == 0);
  int suspects = 0;
  for (const AttemptRecord& a : bench.attempts) {
    if (a.outcome.status != Status::suspect) continue;
    ++suspects;
    CHECK(a.outcome.reason.find("GB/s are read") != std::string::npos);
    CHECK(a.outcome.samples_us.size() >= 3);
  }
  CHECK(suspects == 1);
}

TEST_CASE("a search loses nothing of its time to a suspect's ceilings") {
  Bench bench;
  bench.session.time_us = [&](int, const Choice& choice, int) {
    return bench.place(choice) == 0 ? 0.5 : bench.time_of(choice);
  };
  int raised = 0;
  bench.control.raise_ceilings = [&] {
    ++raised;
    std::this_thread::sleep_for(std::chrono::seconds(1));
  };
  CHECK(bench.place(bench.tune({.strategy = Strategy::exhaustive, .seconds = 2})) == 2);
  CHECK(raised == 3);
  CHECK(bench.tried().size() == bench.all.size());
}

TEST_CASE("B4: a tile that turns suspect in the finals is not taken") {
  Bench bench;
  int calls = 0;
  bench.session.time_us = [&](int, const Choice& choice, int) {
    if (bench.place(choice) != 2) return bench.time_of(choice);
    return ++calls > 20 ? 0.5 : 50.0;  // three verifications and twelve samples come before
  };
  CHECK(bench.place(bench.tune({.strategy = Strategy::exhaustive})) == 0);
  const AttemptRecord* last = nullptr;
  for (const AttemptRecord& a : bench.attempts)
    if (a.kernel == bench.all[2].kernel->name && a.tile == bench.all[2].tile) last = &a;
  REQUIRE(last != nullptr);
  CHECK(last->outcome.status == Status::suspect);
  CHECK(last->outcome.samples_us.size() == 25);
}

TEST_CASE("B10: a sample that is no time is kept out of the ledger's numbers and never wins") {
  for (const double bad : {0.0, -1.0, std::nan(""), double{INFINITY}}) {
    CAPTURE(bad);
    Bench bench;
    bench.session.time_us = [&](int, const Choice& choice, int) {
      return bench.place(choice) == 2 ? bad : bench.time_of(choice);
    };
    CHECK(bench.place(bench.tune({.strategy = Strategy::exhaustive})) == 0);
    CHECK(std::any_of(bench.attempts.begin(), bench.attempts.end(), [](const AttemptRecord& a) {
      return a.outcome.status == Status::suspect &&
             a.outcome.reason.find("expected a time above 0") != std::string::npos;
    }));
  }
}

TEST_CASE("the fastest tile never wins when it is wrong, and its failure is kept") {
  Bench bench;
  bench.session.fault = [&](int, const Choice& choice, RefState& state) {
    if (choice.kernel && bench.place(choice) == 2) state[Buf::h](0, 0) += 1;
  };
  CHECK(bench.place(bench.tune({.strategy = Strategy::exhaustive})) != 2);
  int wrong = 0;
  for (const AttemptRecord& a : bench.attempts)
    if (a.outcome.status == Status::wrong) {
      ++wrong;
      CHECK(a.outcome.reason.find("h[0,0]") == 0);
      CHECK(a.outcome.samples_us.empty());
    }
  CHECK(wrong == 1);
}

TEST_CASE("the fastest tile never wins when it is wrong for some routing only") {
  Bench bench;
  bench.session.fault = [&](int, const Choice& choice, RefState& state) {
    const Matrix& offsets = state[Buf::expert_offsets];
    for (Eigen::Index e = 0; choice.kernel && bench.place(choice) == 2 && e + 1 < offsets.cols();
         ++e)
      if (offsets(0, e + 1) - offsets(0, e) == bench.plan.tokens) state[Buf::h](0, 0) += 1;
  };
  CHECK(bench.place(bench.tune({.strategy = Strategy::exhaustive})) != 2);
  std::vector<Status> ends;
  for (const AttemptRecord& a : bench.attempts)
    if (a.kernel == bench.all[2].kernel->name && a.tile == bench.all[2].tile)
      ends.push_back(a.outcome.status);
  CHECK(ends == std::vector{Status::wrong});
}

TEST_CASE("the fastest tile never wins when it is wrong only when replayed from a graph") {
  Bench bench;
  bench.session.graphs = true;
  bench.session.graph_fault = [&](const Choice& choice, RefState& state) {
    if (bench.place(choice) == 2) state[Buf::h](0, 0) += 1;
  };
  CHECK(bench.place(bench.tune({.strategy = Strategy::exhaustive})) != 2);
  CHECK(std::any_of(bench.attempts.begin(), bench.attempts.end(), [](const AttemptRecord& a) {
    return a.outcome.status == Status::wrong &&
           a.outcome.reason.find("replayed from a graph: h[0,0]") == 0;
  }));
}

TEST_CASE("B28: every attempt at a step keeps the most memory in use") {
  Bench bench;
  bench.tune({.strategy = Strategy::exhaustive});
  for (const AttemptRecord& a : bench.attempts) CHECK(a.outcome.peak_bytes > 1 << 20);
  const auto stored = bench.store.step_attempts(step_key(bench.plan, bench.plan.steps[bench.step]),
                                                bench.ledger.workload, bench.ledger.environment);
  CHECK(stored.front().outcome.peak_bytes == bench.attempts.front().outcome.peak_bytes);
}

TEST_CASE("a kernel that cannot launch is an outcome, and the search goes on") {
  Bench bench;
  bench.session.fault = [&](int, const Choice& choice, RefState&) {
    if (choice.kernel && bench.place(choice) == 2)
      throw Error(ErrorKind::environment, "no memory for panels");
  };
  CHECK(bench.place(bench.tune({.strategy = Strategy::exhaustive})) == 0);
  CHECK(std::any_of(bench.attempts.begin(), bench.attempts.end(), [](const AttemptRecord& a) {
    return a.outcome.status == Status::launch_failed && a.outcome.reason == "no memory for panels";
  }));
}

TEST_CASE("nothing right at all is an error that names the first failure") {
  Bench bench;
  bench.session.fault = [](int, const Choice& choice, RefState& state) {
    if (choice.kernel) state[Buf::h](0, 0) = std::nan("");
  };
  CHECK_THROWS_WITH_AS(bench.tune({.strategy = Strategy::exhaustive}),
                       doctest::Contains("h[0,0] is nan"), Error);
}

TEST_CASE("a stopped search resumes without repeating what it finished") {
  Bench bench;
  bench.control.stop = [&] { return bench.attempts.size() == 3; };
  CHECK_THROWS_AS(bench.tune({.strategy = Strategy::exhaustive}), Error);
  CHECK(bench.attempts.size() == 3);
  bench.control.stop = [] { return false; };
  const Choice best = bench.tune({.strategy = Strategy::exhaustive});
  CHECK(bench.place(best) == 2);
  // Three before, the rest after, then finals of the four fastest (and the default, if not of
  // them).
  const size_t finals = bench.attempts.size() - bench.all.size();
  CHECK(finals >= 4);
  CHECK(finals <= 5);
  const auto again =
      recorded_choice(bench.plan, bench.plan.steps[bench.step], bench.device, bench.ledger, {});
  REQUIRE(again);
  CHECK(*again == best);
}

TEST_CASE("what won for an earlier study competes again, by name, whatever the budget") {
  Bench bench;
  bench.tune({.strategy = Strategy::exhaustive});
  bench.attempts.clear();
  bench.ledger.study = bench.store.add_study({.name = "later", .plan_hash = "1"}, {});
  CHECK(bench.place(bench.tune({.strategy = Strategy::random, .evaluations = 1})) == 2);
  REQUIRE(bench.attempts.size() == 2);  // finals: both were screened for the first study
  CHECK(bench.attempts[0].role.starts_with("the winner of study tune, 20"));
  CHECK(bench.attempts[1].role == "default");
  // Another fselab on the same device starts anew, and has not forgotten either.
  Environment later{.device = bench.device, .git_revision = "later"};
  bench.ledger.environment = bench.store.add_environment(later);
  bench.attempts.clear();
  CHECK(bench.place(bench.tune({.strategy = Strategy::random, .evaluations = 1})) == 2);
  CHECK(bench.attempts.size() == 4);
  // What another device found is nothing here.
  later.device.arch = "other";
  bench.ledger.environment = bench.store.add_environment(later);
  CHECK(bench.place(bench.tune({.strategy = Strategy::random, .evaluations = 1})) == 0);
}

TEST_CASE("an incumbent that is wrong now does not win") {
  Bench bench;
  bench.tune({.strategy = Strategy::exhaustive});
  bench.ledger.study = bench.store.add_study({.name = "later", .plan_hash = "1"}, {});
  bench.ledger.environment =
      bench.store.add_environment({.device = bench.device, .git_revision = "later"});
  bench.session.fault = [&](int, const Choice& choice, RefState& state) {
    if (choice.kernel && bench.place(choice) == 2) state[Buf::h](0, 0) += 1;
  };
  CHECK(bench.place(bench.tune({.strategy = Strategy::random, .evaluations = 1})) == 0);
}

TEST_CASE(
    "B1: cold weights choose the tile that is best cold, warm ones the one that is best warm") {
  for (const Cache cache : {Cache::cold_weights, Cache::warm}) {
    Bench bench;
    // A cache that holds one set of weights: the second tile lives from it, the third does not.
    int cached = -1;
    bench.session.ran_set = [&](int set) { return std::exchange(cached, set) == set; };
    bench.session.time_us = [&](int, const Choice& choice, int) {
      const size_t place = bench.place(choice);
      if (place == 1) return bench.session.was_warm ? 30.0 : 300.0;
      return place == 2 ? 50.0 : 100.0;
    };
    bench.workload.cache = bench.ledger.cache = cache;
    if (cache == Cache::warm) bench.workload.sets.resize(1);  // as plan_rotation() says
    const Choice best = bench.tune({.strategy = Strategy::exhaustive});
    CHECK(bench.place(best) == (cache == Cache::warm ? 1 : 2));
  }
}

TEST_CASE("restrictions keep only the listed values, the default always competes") {
  Bench bench;
  const Step& step = bench.plan.steps[bench.step];
  for (const auto& [axis, value] : bench.all.back().tile.axes) {
    const std::vector<Choice> kept =
        candidates(bench.plan, step, bench.device,
                   {{.target = "grouped_stage1", .axis = axis, .values = {value}, .where = ""}});
    CHECK(kept.front() == bench.all.front());
    for (size_t i = 1; i < kept.size(); ++i)
      for (const auto& [name, v] : kept[i].tile.axes)
        if (name == axis) CHECK(v == value);
  }
}
