#include "tuner/remote_workbench.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "core/error.h"
#include "tests/temporary_folder.h"
#include "tests/tuner/small_layer.h"
#include "tuner/tune.h"

using namespace fse;

namespace {

const Variant kSlot{.gate = Gate::fused, .topk = Topk::fused, .shared = Shared::slot};

std::unique_ptr<Workbench> worker(const std::string& device, const Deadlines& deadlines = {}) {
  return open_worker({.command = {FSELAB_COMMAND, "worker", "--device", device, "--parent",
                                  std::to_string(getpid())},
                      .deadlines = deadlines});
}

WorkloadSpec workload() {
  WorkloadSpec w{.spec = {.layer = small_layer(), .variant = kSlot, .tokens = 3}, .sets = 2};
  w.rounds = 4;
  return w;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// The items that strike one choice: its name as a fault's words.
std::string words_of(const Choice& choice) {
  std::string words = to_text(choice);
  std::replace(words.begin(), words.end(), ' ', '+');
  return words;
}

// One layer in a worker, with a step of it.
struct Remote {
  std::unique_ptr<Workbench> bench;
  std::unique_ptr<LayerRunner> layer;
  LayerPlan plan;
  std::vector<Choice> choices;
  size_t stage1 = 0;

  explicit Remote(std::unique_ptr<Workbench> on) : bench(std::move(on)) {
    bench->set_workload(workload());
    layer = bench->open(kSlot);
    plan = make_plan(small_layer(), make_shard(small_layer(), 1, 0), kSlot, 3, bench->device());
    choices = default_choices(plan, bench->device());
    while (plan.steps[stage1].op != Op::grouped_stage1) ++stage1;
  }
  const Choice& choice() const { return choices[stage1]; }
  std::unique_ptr<StepRunner> step() { return layer->open_step(stage1, choices); }
};

// How one thing asked of a worker ends, and that the next thing finds all in place.
struct End {
  Status status = Status::measured;
  std::string reason;
};
template <class F>
End end_of(const F& work) {
  try {
    work();
    return {};
  } catch (const AttemptError& error) {
    CHECK_FALSE(error.device_lost);
    return {error.status, error.what()};
  }
}

End ask_in(Stage stage, Remote& remote) {
  return end_of([&] {
    if (stage == Stage::layer_verify) remote.layer->verify(remote.choices);
    if (stage == Stage::layer_measure) remote.layer->run(remote.choices, 0, 0);
    if (stage == Stage::layer_verify || stage == Stage::layer_measure) return;
    const auto step = remote.step();
    step->compile({&remote.choice(), 1});
    if (stage == Stage::screen || stage == Stage::finals)
      step->time_us(remote.choice(), 0, stage);
    else
      step->verify(remote.choice());
  });
}

// A search over grouped_stage1 in a ledger of its own.
struct Tuned {
  Choice best;
  std::map<std::string, std::vector<Outcome>> outcomes;  // by choice
};
Tuned tune(Workbench& bench) {
  bench.set_workload(workload());
  const auto layer = bench.open(kSlot);
  const LayerPlan plan =
      make_plan(small_layer(), make_shard(small_layer(), 1, 0), kSlot, 3, bench.device());
  const test::TemporaryFolder folder;
  Store store = Store::create_or_open(folder / "tune.db");
  Ledger ledger{.store = store};
  ledger.environment = store.add_environment({.device = bench.device()});
  ledger.study = store.add_study({.name = "tune", .plan_hash = "0"}, {});
  ledger.workload = "routing=uniform cache=cold_weights seed=1";
  ledger.read_gbs = ledger.peak_gflops = 10;
  size_t index = 0;
  while (plan.steps[index].op != Op::grouped_stage1) ++index;
  Tuned tuned;
  TuneControl control;
  control.progress = [&](const AttemptRecord& a) {
    tuned.outcomes[choice_text(a.kernel, a.tile)].push_back(a.outcome);
  };
  const auto step = layer->open_step(index, default_choices(plan, bench.device()));
  tuned.best = tune_step(*step, plan, plan.steps[index], bench.device(),
                         {.strategy = Strategy::random, .evaluations = 12}, ledger, control);
  for (const auto& count : store.attempt_counts(ledger.study)) CHECK(count.status != "running");
  return tuned;
}

}  // namespace

TEST_CASE("B28: a worker is replaced after so many attempts, and on demand, and answers the same") {
  const WorkerSpec spec{.command = {FSELAB_COMMAND, "worker", "--device", "fault:cpu?times=made",
                                    "--parent", std::to_string(getpid())},
                        .most_attempts = 4};
  const auto few = open_worker(spec), many = worker("fault:cpu?times=made");
  const Tuned a = tune(*few), b = tune(*many);
  CHECK(to_text(a.best.tile) == to_text(b.best.tile));
  REQUIRE(a.outcomes.size() == b.outcomes.size());
  for (const auto& [choice, outcomes] : a.outcomes) {
    CAPTURE(choice);
    REQUIRE(outcomes.size() == b.outcomes.at(choice).size());
    for (size_t i = 0; i < outcomes.size(); ++i) {
      CHECK(outcomes[i].status == b.outcomes.at(choice)[i].status);
      CHECK(outcomes[i].samples_us == b.outcomes.at(choice)[i].samples_us);
      CHECK(outcomes[i].peak_bytes > 1 << 20);
    }
  }
  Remote remote(worker("fault:cpu?times=made"));
  const double before = remote.layer->run(remote.choices, 1, 1).layer_us;
  CHECK(remote.bench->renew());
  CHECK(remote.layer->run(remote.choices, 1, 1).layer_us == before);
  CHECK_FALSE(open_workbench(open_backend("cpu"))->renew());
}

TEST_CASE("a worker answers what the same device in this process answers") {
  const std::string device = "fault:cpu?times=made";
  Remote here(open_workbench(open_backend(device))), there(worker(device));
  CHECK(there.bench->device().name == device);
  CHECK(there.bench->device().arch == here.bench->device().arch);
  CHECK(there.bench->inputs() == here.bench->inputs());
  CHECK(there.bench->measure_read_gbs() == 100);
  const auto a = here.step(), b = there.step();
  CHECK(b->work().bytes == a->work().bytes);
  CHECK(b->time_us(there.choice(), 1) == a->time_us(here.choice(), 1));
  CHECK(b->verify(there.choice()).rel_frobenius == a->verify(here.choice()).rel_frobenius);
  const LayerCheck check = there.layer->verify(there.choices);
  CHECK(check.ok());
  CHECK(check.output.rel_frobenius == here.layer->verify(here.choices).output.rel_frobenius);
  CHECK(there.layer->run(there.choices, 5, 7).step_us ==
        here.layer->run(here.choices, 5, 7).step_us);
  CHECK(there.layer->load(there.choices, 2).rows_per_expert ==
        here.layer->load(here.choices, 2).rows_per_expert);
}

TEST_CASE("B21: a worker that dies tells how, and the next one goes on") {
  const std::pair<const char*, const char*> deaths[] = {
      {"abort", "signal 6 (Aborted) in "},
      {"segfault", "signal 11 (Segmentation fault) in "},
      {"exit", "exit code 3 in "}};
  for (const auto& [failure, told] : deaths)
    for (const Stage stage : {Stage::verify, Stage::finals, Stage::layer_measure}) {
      const std::string where = to_name(stage);
      CAPTURE(failure);
      CAPTURE(where);
      Remote remote(worker(std::string("fault:cpu?") + failure + "=" + where + "@grouped_stage1"));
      const End end = ask_in(stage, remote);
      CHECK(end.status == Status::crashed);
      CHECK(end.reason.starts_with(told + where));
      if (std::string(failure) != "exit")
        CHECK(
            contains(end.reason, std::string(": injected: ") + failure + " of cpu.grouped_stage1"));
      CHECK(ask_in(stage == Stage::verify ? Stage::screen : Stage::verify, remote).status ==
            Status::measured);
    }
}

TEST_CASE("B22: a hang ends at the deadline of its stage, wherever it is") {
  for (const auto& [stage, where] : kNames<Stage>) {
    if (stage == Stage::prepare) continue;
    CAPTURE(where);
    Deadlines deadlines;  // only what hangs has a short one
    deadlines.of(stage) = 0.3;
    if (stage == Stage::compile) deadlines.of(Stage::verify) = 0.3;  // then it is compiled alone
    Remote remote(worker("fault:cpu?hang=" + std::string(where) + "@grouped_stage1", deadlines));
    const End end = ask_in(stage, remote);
    CHECK(end.status == Status::timed_out);
    CHECK(end.reason.starts_with("no answer within 0.3 s in "));
    CHECK(contains(end.reason, ": injected: hang of cpu.grouped_stage1"));
    if (stage != Stage::compile)
      CHECK(ask_in(stage == Stage::layer_verify ? Stage::screen : Stage::layer_verify, remote)
                .status == Status::measured);
  }
}

TEST_CASE("a device that is lost is one worker's, and memory that lacks is an outcome") {
  Remote remote(worker("fault:cpu?sticky=verify@grouped_stage1&oom=screen&launch=finals"));
  CHECK(ask_in(Stage::verify, remote).status == Status::crashed);
  CHECK(ask_in(Stage::screen, remote).status == Status::out_of_memory);
  CHECK(ask_in(Stage::finals, remote).status == Status::launch_failed);
  CHECK(ask_in(Stage::layer_verify, remote).status == Status::measured);
}

TEST_CASE("B20: faults of some tiles leave every other result as it is without them") {
  const auto good = worker("fault:cpu?times=made");
  const Tuned want = tune(*good);
  REQUIRE(want.outcomes.size() >= 6);
  const LayerPlan plan =
      make_plan(small_layer(), make_shard(small_layer(), 1, 0), kSlot, 3, good->device());
  const Step* step = nullptr;
  for (const Step& s : plan.steps)
    if (s.op == Op::grouped_stage1) step = &s;
  const std::string best = to_text(want.best);
  std::vector<Choice> struck;
  for (const Choice& c : candidates(plan, *step, good->device(), {})) {
    const std::string text = to_text(c);
    if (want.outcomes.contains(text) && text != best && struck.size() < 4) struck.push_back(c);
  }
  REQUIRE(struck.size() == 4);
  Deadlines deadlines;
  deadlines.of(Stage::screen) = 0.5;
  const auto bad = worker("fault:cpu?times=made&abort=verify@" + words_of(struck[0]) +
                              "&wrong=verify@" + words_of(struck[1]) + "&hang=screen@" +
                              words_of(struck[2]) + "&sticky=screen@" + words_of(struck[3]),
                          deadlines);
  const Tuned got = tune(*bad);
  CHECK(got.best.kernel == want.best.kernel);
  CHECK(got.best.tile == want.best.tile);
  const Status ends[] = {Status::crashed, Status::wrong, Status::timed_out, Status::crashed};
  for (size_t i = 0; i < struck.size(); ++i) {
    const auto& outcomes = got.outcomes.at(to_text(struck[i]));
    CAPTURE(i);
    CHECK(outcomes.front().status == ends[i]);
    CHECK(outcomes.size() == 1);
  }
  for (const auto& [choice, outcomes] : want.outcomes) {
    CAPTURE(choice);
    REQUIRE(got.outcomes.contains(choice));
    const Outcome& other = got.outcomes.at(choice).front();
    if (other.status != Status::measured) continue;
    CHECK(other.accuracy.rel_frobenius == outcomes.front().accuracy.rel_frobenius);
    CHECK(median(other.samples_us) == median(outcomes.front().samples_us));
  }
}

TEST_CASE("what cannot be opened is the worker's error, in one line") {
  const auto error_of = [](const std::function<void()>& work) {
    try {
      work();
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(contains(error_of([] { worker("hip:7777"); }), "device 'hip:7777' cannot be used here"));
  CHECK(contains(error_of([] { worker("fault:cpu?melt=verify"); }), "fault device: 'melt=verify'"));
  CHECK(contains(error_of([] { open_worker({.command = {"/no/such/program"}}); }),
                 "worker: /no/such/program does not start"));
  CHECK(contains(error_of([] { open_worker({.command = {"/bin/false"}}); }),
                 "worker: exit code 1 in prepare"));
}
