#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <thread>

#include "core/rng.h"
#include "tests/experiments/made_sweep.h"

namespace fse::test {
namespace {

TEST_CASE(
    "B24: kill -9 at fifty moments: nothing finished is repeated or lost, and the winner stays") {
  const Sweep sweep;
  const Result whole = sweep.run("whole.db");
  CAPTURE(whole.err);
  REQUIRE(whole.exit_code == 0);
  Rng rng(24);
  int killed = 0;
  std::vector<std::string> finished;
  for (int round = 0; round < 50; ++round) {
    CAPTURE(round);
    const int64_t until = sweep.count("r.db", "attempt") + rng.below(3);
    const auto pause = std::chrono::microseconds(rng.below(3000));
    const auto command = sweep.start("r.db", "command");
    while (sweep.count("r.db", "attempt") < until && command->running())
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(pause);
    command->send(SIGKILL);
    killed += command->wait().exit_code == 128 + SIGKILL;
    const auto now = sweep.rows("r.db", kFinished);
    CHECK(now.size() >= finished.size());
    finished = now;
  }
  CHECK(killed >= 40);
  const Result last = sweep.run("r.db");
  CAPTURE(last.err);
  CHECK(last.exit_code == 0);
  CHECK(sweep.rows("r.db", kWinners) == sweep.rows("whole.db", kWinners));
  CHECK(sweep.rows("r.db", kFinished) == sweep.rows("whole.db", kFinished));
  CHECK(sweep.rows("r.db", "PRAGMA integrity_check") == std::vector<std::string>{"ok"});
}

TEST_CASE(
    "B21: a tile that kills its worker is one outcome, and after two deaths it is left alone") {
  Sweep sweep;
  REQUIRE(sweep.run("good.db").exit_code == 0);
  // The winner of the dispatch step of one token dies wherever it is verified.
  const auto struck =
      sweep.rows("good.db",
                 "SELECT DISTINCT kernel, tile FROM attempt WHERE level = 'step' AND step_key LIKE "
                 "'grouped_stage1 tokens=1 %' AND id NOT IN (SELECT attempt FROM winner)");
  REQUIRE(!struck.empty());
  std::string words = struck.front();
  std::replace(words.begin(), words.end(), '|', '+');
  std::replace(words.begin(), words.end(), ' ', '+');
  sweep.device += "&abort=verify@" + words;
  const Result run = sweep.run("r.db");
  CAPTURE(run.err);
  CHECK(run.exit_code == 0);
  const std::string tile = " FROM attempt WHERE kernel || '|' || tile = '" + struck.front() + "'";
  const auto ends = sweep.rows("r.db", "SELECT status, reason" + tile + " ORDER BY id");
  REQUIRE(!ends.empty());
  CHECK(ends.front().starts_with("crashed|signal 6 (Aborted) in verify: injected: abort of "));
  for (size_t i = 2; i < ends.size(); ++i)
    CHECK(ends[i] == "illegal|quarantined: it ended 2 workers");
  // All else is as it was.
  const std::string others =
      "SELECT coalesce(case_id, step_key), kernel, tile, status, median_us, count(*) FROM attempt "
      "WHERE level = 'step' AND kernel || '|' || tile <> '" +
      struck.front() + "' GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5";
  for (const std::string& row : sweep.rows("good.db", others)) {
    CAPTURE(row);
    const auto now = sweep.rows("r.db", others);
    CHECK(std::find(now.begin(), now.end(), row) != now.end());
  }
}

TEST_CASE("B22: a layer that hangs while it is measured fails alone") {
  Sweep sweep;
  sweep.device = "fault:cpu?times=made&hang=layer_measure@mlp_stage1";
  const Result run =
      sweep.run("r.db", {"--deadline", "layer_measure=1", "tokens=1", "tune.strategy=none",
                         "variants.shared=[mlp, slot]", "baseline={shared: mlp}"});
  CAPTURE(run.err);
  CHECK(run.exit_code == 1);
  CHECK(sweep.rows("r.db",
                   "SELECT variant_shared, state, reason LIKE 'no answer within 1 s in "
                   "layer_measure: injected: hang of %' FROM layer_case ORDER BY 1") ==
        std::vector<std::string>{"mlp|failed|1", "slot|done|0"});
  CHECK(fselab(sweep.folder.path(), sweep.command("r.db", {"--deadline", "lunch=1"})).exit_code ==
        2);
  // Not even a lost device ends a run in a worker; in this process it does.
  sweep.device = "fault:cpu?times=made&sticky=layer_measure@mlp_stage1";
  const std::vector<std::string> both{"tokens=1", "tune.strategy=none",
                                      "variants.shared=[mlp, slot]", "baseline={shared: mlp}"};
  CHECK(sweep.run("lost.db", both).exit_code == 1);
  CHECK(sweep.count("lost.db", "layer_case WHERE state = 'done'") == 1);
  std::vector<std::string> here = both;
  here.push_back("--in-process");
  CHECK(sweep.run("here.db", here).exit_code == 3);
}

TEST_CASE("B36: three processes share one database: each case and each attempt once") {
  const Sweep sweep;
  REQUIRE(sweep.run("whole.db").exit_code == 0);
  std::vector<std::unique_ptr<Command>> commands;
  for (const char* name : {"one", "two", "three"}) commands.push_back(sweep.start("r.db", name));
  for (const auto& command : commands) {
    const Result r = command->wait();
    CAPTURE(r.err);
    CHECK(r.exit_code == 0);
  }
  CHECK(sweep.rows("r.db", kFinished) == sweep.rows("whole.db", kFinished));
  CHECK(sweep.rows("r.db", kWinners) == sweep.rows("whole.db", kWinners));
  CHECK(sweep.count("r.db", "claim") == 0);
}

TEST_CASE("B25: what a killed process had is taken over by one that waits") {
  Sweep sweep;
  REQUIRE(sweep.run("whole.db").exit_code == 0);
  const auto first = sweep.start("r.db", "first");
  while (sweep.count("r.db", "attempt") < 3 && first->running())
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  first->send(SIGSTOP);  // holds what it claimed, but no lock
  while (!sweep.unlocked("r.db")) {
    first->send(SIGCONT);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    first->send(SIGSTOP);
  }
  const auto second = sweep.start("r.db", "second");
  while (sweep.count("r.db", "layer_case WHERE state = 'done'") < 3 && second->running())
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  CHECK(second->running());
  first->send(SIGKILL);
  CHECK(second->wait().exit_code == 0);
  CHECK(sweep.rows("r.db", kWinners) == sweep.rows("whole.db", kWinners));
  CHECK(sweep.count("r.db", "layer_case WHERE state = 'done'") == 4);
}

// A job array's script, run by `launch` for each of its parts, and the databases merged.
void check_array(const Sweep& sweep, const std::function<void(const std::string&)>& launch) {
  const Result whole = sweep.run("whole.db");
  REQUIRE(whole.exit_code == 0);
  launch(std::string(FSELAB_SOURCE_DIR) + "/experiments/slurm_array.sh");
  int64_t done = 0;
  for (const char* part : {"made-1.db", "made-2.db", "made-3.db", "made-4.db"}) {
    CAPTURE(part);
    CHECK(sweep.count(part, "layer_case") == 4);
    CHECK(sweep.count(part, "layer_case WHERE state = 'done'") == 1);
    done += sweep.count(part, "layer_case WHERE state = 'done'");
  }
  CHECK(done == 4);
  const Result merged = fselab(sweep.folder.path(), {"db", "merge", "made-1.db", "made-2.db",
                                                     "made-3.db", "made-4.db", "--into", "r.db"});
  CAPTURE(merged.err);
  CHECK(merged.exit_code == 0);
  CHECK(sweep.rows("r.db", kFinished) == sweep.rows("whole.db", kFinished));
  CHECK(sweep.rows("r.db", kWinners) == sweep.rows("whole.db", kWinners));
  CHECK(sweep.run("r.db").exit_code == 0);  // nothing is left to do
  CHECK(sweep.rows("r.db", kFinished) == sweep.rows("whole.db", kFinished));
}

int shell(const Sweep& sweep, const std::string& command) {
  return std::system(("cd '" + sweep.folder.path().string() + "' && " + command).c_str());
}

std::string array_arguments(const Sweep& sweep) {
  return std::string(" '") + FSELAB_COMMAND + "' made.yaml 'device=" + sweep.device + "'";
}

TEST_CASE("four shards, merged, are what one process finds") {
  const Sweep sweep;
  check_array(sweep, [&](const std::string& script) {
    for (int part = 1; part <= 4; ++part)
      CHECK(shell(sweep, fmt::format("SLURM_ARRAY_TASK_ID={} SLURM_ARRAY_TASK_COUNT=4 "
                                     "SLURM_ARRAY_TASK_MIN=1 sh '{}'{} > /dev/null 2>&1",
                                     part, script, array_arguments(sweep))) == 0);
  });
  for (const char* bad : {"0/4", "5/4", "1", "1/", "/4", "a/4", "1/4x"}) {
    CAPTURE(bad);
    const Result r = sweep.run("bad.db", {"--shard", bad});
    CHECK(r.exit_code == 2);
    CHECK(contains(r.err, "expected I/N with I from 1 to N"));
  }
}

TEST_CASE("a Slurm job array of four shards, merged, is what one process finds") {
  const Sweep sweep;
  if (shell(sweep,
            "sbatch --version > /dev/null 2>&1 && sinfo -h -t idle 2> /dev/null | "
            "grep -q idle") != 0) {
    MESSAGE("skipped: no Slurm with an idle node answers here");
    return;
  }
  check_array(sweep, [&](const std::string& script) {
    CHECK(shell(sweep, "sbatch --wait --array=1-4 --output=/dev/null '" + script + "'" +
                           array_arguments(sweep) + " > /dev/null") == 0);
  });
}

}  // namespace
}  // namespace fse::test
