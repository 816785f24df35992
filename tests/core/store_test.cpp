#include "core/store.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <limits>

#include "core/store_sql.h"
#include "tests/core/store_fixture.h"

using namespace fse;
using namespace fse::test;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// A store with one study of two cases and one environment.
struct Ledger {
  TemporaryFolder folder;
  std::filesystem::path file = folder / "ledger.db";
  Store store = Store::create_or_open(file);
  Case baseline = sample_case(Shared::mlp), slot = sample_case(Shared::slot);
  int64_t environment = store.add_environment(sample_environment());
  int64_t study = store.add_study(sample_study(), cases());

  std::vector<CaseRecord> cases() const {
    return {{.spec = baseline, .baseline = true, .state = CaseState::pending, .reason = ""},
            {.spec = slot, .baseline = false, .state = CaseState::pending, .reason = ""}};
  }
};

Outcome wrong_outcome() {
  Outcome o = verified_outcome(10);
  o.status = Status::wrong;
  o.accuracy = {.rel_frobenius = kNaN,
                .worst = kNaN,
                .bound = 4e-3,
                .first_bad = "out[3,17] = nan, expected 0.25"};
  return o;
}

bool refuses(SQLite::Database& db, const std::string& sql) {
  try {
    db.exec(sql);
  } catch (const SQLite::Exception&) {
    return true;
  }
  return false;
}

}  // namespace

TEST_CASE("every field of a case survives the database") {
  const TemporaryFolder folder;
  Store store = Store::create_or_open(folder / "a.db");
  Case odd = sample_case();
  odd.layer.model = "a'b\"; DROP TABLE study; -- | \n\xf0\x9f\x92\xa5";
  odd.layer.routing = {.experts = 256,
                       .top_k = 8,
                       .score = ScoreFunction::sigmoid,
                       .selection_bias = true,
                       .groups = 8,
                       .groups_kept = 4,
                       .group_score = GroupScore::sum_of_top2,
                       .renormalize = true,
                       .scaling = 2.827};
  odd.layer.shared = {
      .count = 2, .shared_width = 1408, .weight = SharedWeight::constant, .constant = 0.1};
  odd.layer.dtype = DType::fp8_block128;
  odd.layer.activations = Activations::fp8;
  odd.variant = {Gate::fused, Topk::fused, Shared::slot, Experts::fused, Launch::graph};
  odd.tp = 4;
  odd.routing = {RoutingKind::trace, 0, "traces/ids.safetensors", "beef"};
  odd.cache = Cache::cold_all;
  odd.device = "hip:0";
  odd.seed = std::numeric_limits<uint64_t>::max();
  Case zipf = sample_case();
  zipf.routing = {RoutingKind::zipf, 1.2, "", ""};
  const std::vector<CaseRecord> want = {{odd, true, CaseState::pending, ""},
                                        {zipf, false, CaseState::refused, "refused: why"}};
  const int64_t study = store.add_study(sample_study("it's"), want);
  const std::vector<CaseRecord> got = store.cases(study);
  REQUIRE(got.size() == want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    CHECK(canonical_text(got[i].spec) == canonical_text(want[i].spec));
    CHECK(got[i].spec.layer.model == want[i].spec.layer.model);
    CHECK(got[i].spec.routing == want[i].spec.routing);
    CHECK(got[i].baseline == want[i].baseline);
    CHECK(got[i].state == want[i].state);
    CHECK(got[i].reason == want[i].reason);
  }
  CHECK(store.study(study).name == "it's");
  CHECK(count(store.database(), "layer_case WHERE canonical LIKE '%zipf%'") == 1);
}

TEST_CASE("a study is found again with what was finished, another plan is another study") {
  Ledger l;
  l.store.set_case_state(l.study, case_id(l.slot), CaseState::failed, "no room");
  Store again = Store::create_or_open(l.file);
  CHECK(again.add_study(sample_study(), l.cases()) == l.study);
  CHECK(again.cases(l.study)[1].state == CaseState::failed);
  CHECK(again.cases(l.study)[1].reason == "no room");
  StudyRecord edited = sample_study();
  edited.plan_hash = "other";
  const int64_t second = again.add_study(edited, l.cases());
  CHECK(second != l.study);
  CHECK(again.cases(second)[1].state == CaseState::pending);
  CHECK(again.studies().size() == 2);
  CHECK(count(again.database(), "run") == 3);
  CHECK_THROWS_AS(again.set_case_state(l.study, "nobody", CaseState::done, ""), std::logic_error);
}

TEST_CASE("measured rates and free memory do not make another environment") {
  Ledger l;
  Environment later = sample_environment();
  later.read_gbs = 19.5;
  later.device.memory_bytes /= 2;
  CHECK(l.store.add_environment(later) == l.environment);
  AttemptRecord judged = step_attempt();
  judged.read_gbs = later.read_gbs;
  record(l.store, l.study, l.environment, judged, verified_outcome(10));
  REQUIRE(l.store.environments(l.study).size() == 1);
  const Environment got = l.store.environments(l.study)[0];
  CHECK(got.read_gbs == 19.5);
  CHECK(got.compiler == later.compiler);
  CHECK(got.device.dtypes == later.device.dtypes);
  CHECK(got.device.llc_bytes == later.device.llc_bytes);
  CHECK(got.device.wave == 64);
  CHECK(got.device.dependent_launch);
  later.git_revision += "-dirty";
  CHECK(l.store.add_environment(later) != l.environment);
}

TEST_CASE("a step's winner belongs to its key, workload, environment and study") {
  Ledger l;
  const AttemptRecord step = step_attempt();
  const auto winner = [&](int64_t study, const std::string& workload, int64_t environment) {
    return l.store.step_winner(study, step.step_key, workload, environment);
  };
  record(l.store, l.study, l.environment, step, verified_outcome(20));
  const int64_t fastest = record(l.store, l.study, l.environment, step, verified_outcome(12));
  record(l.store, l.study, l.environment, step, wrong_outcome());
  l.store.begin_attempt(l.study, l.environment, step);
  CHECK_FALSE(winner(l.study, step.workload, l.environment));

  l.store.set_winner(fastest);
  const auto found = winner(l.study, step.workload, l.environment);
  REQUIRE(found);
  CHECK(found->id == fastest);
  CHECK(found->tile == step.tile);
  CHECK(found->kernel == step.kernel);
  CHECK(found->time_us.n == 25);
  CHECK_FALSE(winner(l.study + 1, step.workload, l.environment));
  CHECK_FALSE(winner(l.study, "another", l.environment));
  CHECK_FALSE(winner(l.study, step.workload, l.environment + 1));
  CHECK(l.store.step_attempts(step.step_key, step.workload, l.environment).size() == 3);
}

TEST_CASE("closing a case keeps its winner and its state together") {
  Ledger l;
  AttemptRecord layer = layer_attempt(l.slot);
  const int64_t good = l.store.begin_attempt(l.study, l.environment, layer);
  layer.outcome = verified_outcome(12);
  layer.read_gbs = 19.5;
  layer.weight_sets = 33;
  layer.rotation_shortfall_bytes = 7;
  l.store.finish_case(good, layer);
  const auto result = l.store.layer_result(l.study, case_id(l.slot));
  REQUIRE(result);
  CHECK(result->read_gbs == 19.5);
  CHECK(result->weight_sets == 33);
  CHECK(result->rotation_shortfall_bytes == 7);
  CHECK(result->run > 0);
  const auto state = [&] {
    for (const CaseRecord& c : l.store.cases(l.study))
      if (case_id(c.spec) == case_id(l.slot)) return std::pair(c.state, c.reason);
    return std::pair(CaseState::pending, std::string("missing"));
  };
  CHECK(state().first == CaseState::done);

  const int64_t bad = l.store.begin_attempt(l.study, l.environment, layer);
  layer.outcome = wrong_outcome();
  l.store.finish_case(bad, layer);
  CHECK(state() == std::pair(CaseState::failed, layer.outcome.reason));
}

TEST_CASE("a layer's newest verified attempt comes back whole") {
  Ledger l;
  AttemptRecord layer = layer_attempt(l.slot);
  layer.bytes = 1e9;
  layer.flops = 2e9;
  layer.floor_us = 5e4;
  layer.load_histogram = {3, 0, 1};
  layer.distinct_experts = 2;
  layer.max_over_mean_load = 2.25;
  layer.routing_agreement = 0.75;
  layer.steps = {{.step = "router_gate",
                  .op = "gate_gemm",
                  .kernel = "cpu.gate",
                  .tile = {{{"rows", 2}}},
                  .time_us = summarize(samples_around(3)),
                  .bytes = 10,
                  .flops = 20,
                  .floor_us = 1},
                 {.step = "combine",
                  .op = "combine",
                  .kernel = "cpu.combine",
                  .tile = {},
                  .time_us = summarize(samples_around(1, 5)),
                  .bytes = 0,
                  .flops = 0,
                  .floor_us = 0}};
  record(l.store, l.study, l.environment, layer, verified_outcome(50));
  const int64_t newest = record(l.store, l.study, l.environment, layer, verified_outcome(60));
  record(l.store, l.study, l.environment, layer, wrong_outcome());

  const auto got = Store::open_read_only(l.file).layer_result(l.study, case_id(l.slot));
  REQUIRE(got);
  CHECK(got->id == newest);
  CHECK(got->environment == l.environment);
  CHECK(got->outcome.samples_us == samples_around(60));
  CHECK(got->time_us.lo == summarize(samples_around(60)).lo);
  CHECK(got->load_histogram == layer.load_histogram);
  CHECK(got->routing_agreement == 0.75);
  REQUIRE(got->steps.size() == 2);
  CHECK(got->steps[0].tile == layer.steps[0].tile);
  CHECK(got->steps[0].time_us.median == layer.steps[0].time_us.median);
  CHECK(got->steps[1].step == "combine");
  CHECK(std::isnan(got->steps[1].time_us.lo));  // five samples: no interval
  CHECK_FALSE(l.store.layer_result(l.study, case_id(l.baseline)));
  CHECK(count(l.store.database(), "attempt WHERE load_histogram ->> '$[2]' = 1") == 3);
  CHECK(count(l.store.database(), "step_time WHERE tile_axes ->> '$.rows' = 2") == 3);
  CHECK(count(l.store.database(), "v_best WHERE layer_time_us < 55") == 1);
  CHECK(count(l.store.database(), "v_failures WHERE status = 'wrong' AND model LIKE 'qwen%'") == 1);
}

TEST_CASE("attempts are closed once and only with finite samples") {
  Ledger l;
  AttemptRecord step = step_attempt();
  const int64_t id = l.store.begin_attempt(l.study, l.environment, step);
  step.outcome = verified_outcome(10);
  step.outcome.samples_us[20] = kNaN;
  CHECK(contains(error_of([&] { l.store.finish_attempt(id, step); }), "sample 20 is nan"));
  CHECK(count(l.store.database(), "sample") == 0);
  step.outcome.samples_us.clear();
  CHECK_THROWS_AS(l.store.finish_attempt(id, step), std::logic_error);
  step.outcome = verified_outcome(10);
  l.store.finish_attempt(id, step);
  CHECK_THROWS_AS(l.store.finish_attempt(id, step), std::logic_error);
  CHECK_THROWS_AS(l.store.finish_attempt(99, step), std::logic_error);
  CHECK_THROWS_AS(l.store.begin_attempt(l.study, l.environment, {}), std::logic_error);
  CHECK(contains(error_of([&] { l.store.begin_attempt(l.study, 77, step); }), "5: "));
  for (const char* sql : {"UPDATE attempt SET median_us = 1", "UPDATE sample SET us = 1",
                          "INSERT INTO sample VALUES (1, 99, 1.0)",
                          "INSERT OR REPLACE INTO sample VALUES (1, 0, 1.0)"}) {
    CAPTURE(sql);
    CHECK(refuses(l.store.database(), sql));
  }
}

TEST_CASE("an accuracy nobody filled in does not verify a layer") {
  Ledger l;
  Outcome unchecked = verified_outcome(10);
  unchecked.accuracy = {};
  const int64_t id = record(l.store, l.study, l.environment, layer_attempt(l.slot), unchecked);
  CHECK_FALSE(l.store.layer_result(l.study, case_id(l.slot)));
  CHECK(contains(error_of([&] { l.store.set_winner(id); }), "verified"));
}

TEST_CASE("a winner is replaced by a new one of its key") {
  Ledger l;
  const int64_t first =
      record(l.store, l.study, l.environment, step_attempt(), verified_outcome(9));
  const int64_t second =
      record(l.store, l.study, l.environment, step_attempt(), verified_outcome(8));
  const int64_t other = record(l.store, l.study, l.environment, step_attempt("combine tokens=4"),
                               verified_outcome(8));
  const int64_t layer =
      record(l.store, l.study, l.environment, layer_attempt(l.slot), verified_outcome(80));
  for (const int64_t id : {first, other, layer, second, second}) l.store.set_winner(id);
  CHECK(count(l.store.database(), "winner") == 3);
  CHECK(count(l.store.database(), "winner WHERE attempt = " + std::to_string(second)) == 1);
  CHECK_THROWS_AS(l.store.set_winner(99), std::logic_error);
}

TEST_CASE("B17: an unverified winner is impossible in every way") {
  Ledger l;
  Outcome far_off = verified_outcome(10);
  far_off.accuracy.rel_frobenius = 1;  // measured, but further off than its bound
  const std::string good = std::to_string(
      record(l.store, l.study, l.environment, layer_attempt(l.slot), verified_outcome(10)));
  const std::string wrong = std::to_string(
      record(l.store, l.study, l.environment, layer_attempt(l.slot), wrong_outcome()));
  const std::string off =
      std::to_string(record(l.store, l.study, l.environment, layer_attempt(l.slot), far_off));
  const std::string running =
      std::to_string(l.store.begin_attempt(l.study, l.environment, layer_attempt(l.slot)));
  for (const std::string& bad : {wrong, off, running})
    CHECK(contains(error_of([&] { l.store.set_winner(std::stoll(bad)); }), "5: "));
  l.store.set_winner(std::stoll(good));

  const std::string key = "'layer', '" + case_id(l.slot) + "', '', 1, ";
  std::vector<std::string> ways = {
      "UPDATE attempt SET status = 'wrong' WHERE id = " + good,
      "UPDATE attempt SET verified = 0 WHERE id = " + good,
      "UPDATE attempt SET status = 'wrong', verified = 0, first_bad = 'x' WHERE id = " + good,
      "UPDATE attempt SET id = 1000 WHERE id = " + good,
      "UPDATE attempt SET case_id = '" + case_id(l.baseline) + "' WHERE id = " + good,
      "DELETE FROM attempt WHERE id = " + good,
      "INSERT OR REPLACE INTO attempt SELECT * FROM attempt WHERE id = " + good,
      "UPDATE winner SET verified = 0",
      "UPDATE winner SET status = 'wrong'",
      "UPDATE winner SET key = 'another'",
      "UPDATE winner SET workload = 'another'",
      "UPDATE winner SET environment = 2",
      "UPDATE attempt SET verified = 1, status = 'measured', ended = 'now', n = 1, median_us = "
      "1.0, "
      "rel_frobenius = 0.0, bound = 0.0, first_bad = '' WHERE id = " +
          running,
      "UPDATE attempt SET verified = 1 WHERE id = " + wrong,
      "UPDATE attempt SET verified = 1, status = 'measured' WHERE id = " + off,
      "UPDATE attempt SET verified = 1 WHERE id = " + running,
      "UPDATE attempt SET verified = 1, status = 'measured', ended = 'now' WHERE id = " + running,
      "INSERT INTO winner VALUES ('layer', 'other', '', 1, 1000, 'measured', 1, 'now')",
  };
  for (const std::string& bad : {wrong, off, running}) {
    ways.push_back("UPDATE winner SET attempt = " + bad);
    for (const char* claim :
         {"'measured', 1, 'now')", "'wrong', 0, 'now')", "'measured', 0, 'now')"})
      for (const char* verb : {"INSERT", "INSERT OR REPLACE"})
        ways.push_back(std::string(verb) + " INTO winner VALUES (" + key + bad + ", " + claim);
  }
  for (const char* foreign_keys : {"ON", "OFF"})
    for (const std::string& sql : ways) {
      SQLite::Database raw(l.file.string(), SQLite::OPEN_READWRITE);
      raw.exec(std::string("PRAGMA foreign_keys = ") + foreign_keys);
      CAPTURE(foreign_keys);
      CAPTURE(sql);
      CHECK(refuses(raw, sql));
    }
  CHECK(count(l.store.database(), "winner WHERE attempt = " + good) == 1);
}

TEST_CASE("B25: attempts a dead process left running are closed, a living one's are not") {
  Ledger l;
  int pipe_ends[2];
  REQUIRE(pipe(pipe_ends) == 0);
  const auto start = [&](bool stay) {
    const pid_t pid = fork();
    if (pid != 0) return pid;
    Store mine = Store::create_or_open(l.file);
    const int64_t study = mine.add_study(sample_study(), l.cases());
    mine.begin_attempt(study, l.environment, step_attempt(stay ? "living" : "dead"));
    const bool told = write(pipe_ends[1], "x", 1) == 1;
    if (told && stay) pause();
    raise(SIGKILL);
    _exit(1);
  };
  char byte;
  const pid_t dead = start(false);
  REQUIRE(read(pipe_ends[0], &byte, 1) == 1);
  REQUIRE(waitpid(dead, nullptr, 0) == dead);
  const pid_t living = start(true);  // its own add_study closes the dead one's attempt
  REQUIRE(read(pipe_ends[0], &byte, 1) == 1);
  l.store.add_study(sample_study(), l.cases());

  const std::string workload = step_attempt().workload;
  const auto closed = l.store.step_attempts("dead", workload, l.environment);
  REQUIRE(closed.size() == 1);
  CHECK(closed[0].outcome.status == Status::crashed);
  CHECK(contains(closed[0].outcome.reason, "interrupted: process " + std::to_string(dead)));
  CHECK(l.store.step_attempts("living", workload, l.environment).empty());

  kill(living, SIGKILL);  // a zombie until waitpid: it has ended all the same
  siginfo_t info;
  REQUIRE(waitid(P_PID, static_cast<id_t>(living), &info, WEXITED | WNOWAIT) == 0);
  l.store.add_study(sample_study(), l.cases());
  CHECK(l.store.step_attempts("living", workload, l.environment).size() == 1);
  waitpid(living, nullptr, 0);
}

TEST_CASE("the look-ups of the runner use an index") {
  Ledger l;
  const auto plan_of = [&](const std::string& sql) {
    auto q = query(l.store.database(), "EXPLAIN QUERY PLAN " + sql, {});
    std::string plan;
    while (q.executeStep()) plan += text(q, "detail") + "\n";
    return plan;
  };
  const std::string best = plan_of(
      "SELECT * FROM attempt WHERE level = 'step' AND step_key = 'a' AND workload = 'b' AND "
      "environment = 1 AND verified = 1 AND status = 'measured' ORDER BY median_us, id LIMIT 1");
  CHECK(contains(best, "attempt_step"));
  CHECK_FALSE(contains(best, "TEMP B-TREE"));
  CHECK(
      contains(plan_of("SELECT * FROM attempt WHERE study = 1 AND case_id = 'a' AND verified = 1"),
               "attempt_layer"));
  CHECK(contains(plan_of("SELECT * FROM attempt WHERE status = 'running'"), "attempt_running"));
}

TEST_CASE("a control's samples are kept with its attempt, and nothing is added to them later") {
  Ledger l;
  AttemptRecord a = layer_attempt(l.baseline);
  a.control_us = {101, 102, 103};
  const int64_t id = record(l.store, l.study, l.environment, a, verified_outcome(100));
  CHECK(l.store.layer_result(l.study, a.case_id)->control_us == a.control_us);
  CHECK(refuses(l.store.database(),
                "INSERT INTO control_sample VALUES (" + std::to_string(id) + ", 3, 1)"));
}

TEST_CASE("a confirmation's samples and joint trials are kept with their attempt") {
  Ledger l;
  AttemptRecord a = layer_attempt(l.baseline);
  a.confirm_us = {101, 102, 103};
  a.trials = {{.step = "topk", .kernel = "cpu.topk", .tile = {{{"threads", 1}}}},
              {.step = "combine", .kernel = "cpu.combine", .taken = true}};
  a.trials[0].ratio = {.median = 0.9, .lo = 0.8, .hi = 1.1, .n = 7};
  const int64_t id = record(l.store, l.study, l.environment, a, verified_outcome(100));
  const auto read = l.store.layer_result(l.study, a.case_id);
  CHECK(read->confirm_us == a.confirm_us);
  REQUIRE(read->trials.size() == 2);
  CHECK(read->trials[0].tile == a.trials[0].tile);
  CHECK(read->trials[0].ratio.hi == 1.1);
  CHECK(read->trials[0].ratio.n == 7);
  CHECK_FALSE(read->trials[0].taken);
  CHECK(read->trials[1].taken);
  CHECK(refuses(l.store.database(),
                "INSERT INTO confirm_sample VALUES (" + std::to_string(id) + ", 3, 1)"));
  CHECK(refuses(l.store.database(),
                "UPDATE joint_trial SET taken = 1 WHERE attempt = " + std::to_string(id)));
}

TEST_CASE("layers that took the same are those of other token counts, not of other variants") {
  const TemporaryFolder folder;
  Store store = Store::create_or_open(folder / "a.db");
  const Case four = sample_case(Shared::mlp, 4), eight = sample_case(Shared::mlp, 8),
             slot = sample_case(Shared::slot, 8);
  const int64_t study = store.add_study(sample_study(), {{four}, {eight}, {slot}});
  const int64_t environment = store.add_environment(sample_environment());
  std::vector<int64_t> ids;
  for (const Case& c : {four, eight, slot})
    ids.push_back(record(store, study, environment, layer_attempt(c), verified_outcome(100)));
  const Outcome same = verified_outcome(100);
  const auto twins = store.layers_that_took(median(same.samples_us), ids[0]);
  REQUIRE(twins.size() == 1);
  CHECK(twins[0].id == ids[1]);
  CHECK(twins[0].outcome.samples_us == same.samples_us);
  CHECK(store.layers_that_took(99, ids[0]).empty());
}
