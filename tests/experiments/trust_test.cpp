#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>

#include "tests/experiments/made_sweep.h"

// What a winner may be trusted for, through the real command.

namespace fse::test {
namespace {

// "cpu.combine.wide|cols=256" as a fault device's words.
std::string words_of(std::string choice) {
  std::replace(choice.begin(), choice.end(), '|', '+');
  std::replace(choice.begin(), choice.end(), ' ', '+');
  return choice;
}

const std::vector<std::string> kOneToken{"tokens=1", "tune.strategy=exhaustive",
                                         "tune.budget=none"};

// The tile that wins grouped_stage1 although it is not the default, on a device where all is right.
std::string winner_of(const Sweep& sweep) {
  const Result run = sweep.run("good.db", kOneToken);
  CAPTURE(run.err);
  REQUIRE(run.exit_code == 0);
  const auto won = sweep.rows("good.db",
                              "SELECT a.kernel, a.tile FROM winner w JOIN attempt a ON "
                              "a.id = w.attempt WHERE w.key LIKE 'grouped_stage1 %' AND "
                              "a.role <> 'default'");
  REQUIRE(won.size() == 1);
  return won.front();
}

std::vector<std::string> layer_tiles(const Sweep& sweep, const std::string& db) {
  return sweep.rows(db, "SELECT kernel || '|' || tile FROM step_time ORDER BY 1");
}

bool has(const std::vector<std::string>& all, const std::string& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

}  // namespace

TEST_CASE("a tile that is right alone and wrong within the layer costs its tile, not the case") {
  Sweep sweep;
  const std::string won = winner_of(sweep);
  REQUIRE(has(layer_tiles(sweep, "good.db"), won));
  struct Fault {
    const char *failure, *status, *reason;
  };
  for (const Fault& fault : {Fault{"wrong", "wrong", "out["},
                             Fault{"abort", "crashed", "signal 6 (Aborted) in layer_verify"},
                             Fault{"launch", "launch_failed", "injected: launch"}}) {
    CAPTURE(fault.failure);
    const std::string db = std::string(fault.failure) + ".db";
    sweep.device =
        fmt::format("fault:cpu?times=made&{}=layer_verify@{}", fault.failure, words_of(won));
    const Result run = sweep.run(db, kOneToken);
    CAPTURE(run.err);
    CHECK(run.exit_code == 0);
    CHECK(sweep.count(db, "layer_case WHERE state = 'done'") == 1);
    CHECK_FALSE(has(layer_tiles(sweep, db), won));
    const auto trials =
        sweep.rows(db,
                   "SELECT status, reason FROM joint_trial WHERE step = 'whole layer' AND "
                   "kernel = 'the steps'' winners' AND taken = 0");
    REQUIRE(trials.size() == 1);
    CHECK(trials.front().starts_with(fault.status));
    CHECK(contains(trials.front(), fault.reason));
    CHECK(
        contains(fselab(sweep.folder.path(), {"report", "--db", db}).out,
                 fmt::format("The layer of the steps' winners is {} and was left", fault.status)));
  }
}

TEST_CASE("a planted kernel that is faster and wrong wins neither its step nor a layer") {
  Sweep sweep;
  const std::string won = winner_of(sweep), words = words_of(won);
  // In every stage that takes times ten times as fast, and wrong wherever it is looked at.
  const std::string fast =
      fmt::format("&fast=screen@{0}&fast=finals@{0}&fast=layer_measure@{0}", words);
  for (const std::string wrong : {"verify", "layer_verify"}) {
    CAPTURE(wrong);
    const std::string db = wrong + ".db";
    sweep.device = fmt::format("fault:cpu?times=made{}&wrong={}@{}", fast, wrong, words);
    const Result run = sweep.run(db, kOneToken);
    CAPTURE(run.err);
    CHECK(run.exit_code == 0);
    CHECK_FALSE(has(layer_tiles(sweep, db), won));
    const std::string of = " FROM winner w JOIN attempt a ON a.id = w.attempt WHERE a.level = ";
    if (wrong == "verify")
      CHECK_FALSE(has(sweep.rows(db, "SELECT a.kernel, a.tile" + of + "'step'"), won));
    CHECK(sweep.rows(db, "SELECT a.verified, a.status" + of + "'layer'") ==
          std::vector<std::string>{"1|measured"});
    for (const char* verb : {"best", "top"})
      CHECK_FALSE(contains(fselab(sweep.folder.path(), {"db", verb, "--db", db, "level=layer"}).out,
                           won.substr(won.find('|') + 1) + " "));
  }
}

TEST_CASE("what won for an earlier study competes for its step and its layer, and is named") {
  const Sweep sweep;
  REQUIRE(sweep.run("r.db", kOneToken).exit_code == 0);
  const Result later =
      sweep.run("r.db", {"study=later", "tokens=1", "tune.strategy=random", "tune.budget=1"});
  CAPTURE(later.err);
  REQUIRE(later.exit_code == 0);
  const std::string of_later =
      " FROM attempt a JOIN study s ON s.id = a.study WHERE s.name = "
      "'later' AND ";
  CHECK(sweep.rows("r.db", "SELECT min(role LIKE 'the winner of study made, 20%')" + of_later +
                               "a.id IN (SELECT attempt FROM winner WHERE level = 'step') AND "
                               "role <> 'default'") == std::vector<std::string>{"1"});
  // All tiles of the first study's layer, although a budget of one allows the default alone.
  const std::string tiles =
      "SELECT t.step, t.kernel, t.tile FROM step_time t JOIN attempt a ON a.id = t.attempt JOIN "
      "study s ON s.id = a.study WHERE s.name = '{}' ORDER BY 1";
  CHECK(sweep.rows("r.db", fmt::format(fmt::runtime(tiles), "later")) ==
        sweep.rows("r.db", fmt::format(fmt::runtime(tiles), "made")));
}

TEST_CASE("the loads of a layer are means over every round that was measured") {
  const Sweep sweep;
  REQUIRE(sweep.run("r.db", {"tokens=[1, 3]", "measure.min_rounds=31"}).exit_code == 0);
  for (const std::string& row :
       sweep.rows("r.db",
                  "SELECT load_rounds = n AND n >= 31 AND distinct_experts > 1.99 AND "
                  "distinct_experts < 6.01 FROM attempt WHERE level = 'layer'"))
    CHECK(row == "1");
}

}  // namespace fse::test
