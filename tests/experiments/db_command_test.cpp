#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/store_sql.h"
#include "reports/columns.h"
#include "tests/experiments/measured_layer.h"
#include "tests/reports/synthetic.h"

namespace fse::test {
namespace {

struct Invented {
  TemporaryFolder folder;
  Invented() {
    SyntheticStudy s(folder / "a.db");
    fill_realistic(s);
  }
  Result db(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "db");
    arguments.insert(arguments.end(), {"--db", "a.db"});
    return fselab(folder.path(), std::move(arguments));
  }
};

// "model,dtype,...": what a verb prints.
std::string documented(const std::string& verb) {
  std::string all;
  for (const Column& c : columns_of(verb)) all += (all.empty() ? "" : ",") + std::string(c.name);
  return all;
}

TEST_CASE("every verb prints the columns that its help documents, in four formats") {
  const Invented at;
  struct Verb {
    std::vector<std::string> words;
    std::string columns;
  };
  const std::string cases =
      "model,dtype,activations,tp,tokens,routing,cache,seed,device,gate,topk,"
      "experts,launch,";
  const std::vector<Verb> verbs{
      {{"ls"}, documented("ls")},
      {{"ls", "--cases", "state=failed"}, documented("ls --cases")},
      {{"best", "tokens>=4"}, documented("best")},
      {{"top", "3"}, documented("top")},
      {{"top", "3", "--level", "step"}, documented("top --level step")},
      {{"failures"}, documented("failures")},
      {{"coverage", "gate=fused"}, documented("coverage")},
      {{"steps", "1"}, documented("steps")},
      {{"diff", "variant.shared=mlp", "variant.shared=slot"}, cases + documented("diff")},
      {{"show", "1"}, "column,value"},
  };
  for (const auto& [words, columns] : verbs) {
    CAPTURE(words.front());
    const auto in = [&](const std::string& format) {
      std::vector<std::string> all = words;
      if (!format.empty()) all.push_back(format);
      const Result r = at.db(all);
      CAPTURE(r.err);
      CHECK(r.exit_code == 0);
      return r.out;
    };
    const auto csv = lines_of(in("--csv"));
    REQUIRE(csv.size() >= 2);
    CHECK(csv.front() == columns + "\r");
    const auto json = nlohmann::ordered_json::parse(in("--json"));
    REQUIRE(json.size() == csv.size() - 1);
    std::string keys;
    for (const auto& [key, value] : json.front().items()) keys += (keys.empty() ? "" : ",") + key;
    CHECK(keys == columns);
    CHECK(lines_of(in("--md")).size() == json.size() + 2);
    CHECK(lines_of(in("")).size() >= json.size() + 1);
    CHECK(at.db({words.front(), "--csv", "--md"}).exit_code == 2);
  }
  for (const std::string verb : {"ls", "best", "top", "failures", "coverage", "diff", "steps"})
    for (const Column& c : columns_of(verb))
      CHECK(contains(at.db({verb, "--help"}).out, fmt::format("  {:<23} {}", c.name, c.meaning)));
}

TEST_CASE("what an emulator counted is listed, the newest first, by kernel and device") {
  const TemporaryFolder folder;
  {
    Store store = Store::create_or_open(folder / "a.db");
    const int64_t environment = store.add_environment(sample_environment());
    for (const char* kernel : {"hip.topk", "hip.combine"})
      store.add_count(environment, {.step_key = "step of 4 tokens",
                                    .workload = "golden qwen3_moe",
                                    .op = "topk",
                                    .kernel = kernel,
                                    .tile = tile_from_text("warps=4"),
                                    .bytes = 100,
                                    .counters = {.loaded_bytes = 120, .lds_conflicts = 7},
                                    .finding = "reads 120 bytes"});
  }
  const auto counters = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"db", "counters", "--db", "a.db"});
    return fselab(folder.path(), words);
  };
  const auto rows = nlohmann::ordered_json::parse(counters({"--json"}).out);
  REQUIRE(rows.size() == 2);
  CHECK(rows[0]["kernel"] == "hip.combine");
  CHECK(rows[0]["loaded_bytes"] == 120);
  CHECK(rows[0]["lds_conflicts"] == 7);
  CHECK(rows[0]["finding"] == "reads 120 bytes");
  CHECK(lines_of(counters({"--csv"}).out).front() == documented("counters") + "\r");
  CHECK(nlohmann::json::parse(counters({"kernel~topk", "device=cpu", "--json"}).out).size() == 1);
  CHECK(counters({"kernel=none"}).out == "(no rows)\n");
  const Result wrong = counters({"model=glm"});
  CHECK(wrong.exit_code == 2);
  CHECK(contains(wrong.err, "filter 'model=glm': counters have no such column, expected one of"));
}

TEST_CASE("filters are the same everywhere, and a mistyped one says what there is") {
  const Invented at;
  for (const std::string verb : {"ls", "best", "failures", "coverage"}) {
    CAPTURE(verb);
    const Result r = at.db({verb, "modle=glm"});
    CHECK(r.exit_code == 2);
    CHECK(contains(r.err, "filter 'modle=glm': no column 'modle', expected one of study, model,"));
    CHECK(contains(r.err, "(did you mean 'model'?)"));
    CHECK(at.db({verb, "tokens>=many"}).exit_code == 2);
    CHECK(at.db({verb, "model=\xff'; DROP TABLE attempt; --"}).exit_code == 0);
  }
  const auto best = nlohmann::json::parse(at.db({"best", "tokens=4", "--json"}).out);
  CHECK(best.size() == 2);
  CHECK(at.db({"best", "model=none"}).out == "(no rows)\n");
  CHECK(at.db({"top", "0"}).exit_code == 2);
}

TEST_CASE("sql only reads") {
  const Invented at;
  const std::string before = read_text(at.folder / "a.db");
  CHECK(at.db({"sql", "SELECT count(*) AS n FROM attempt", "--csv"}).out.starts_with("n\r\n"));
  for (const std::string bad :
       {"DELETE FROM sample", "VACUUM INTO 'copy.db'", "CREATE TABLE t (a)", "SELEC 1", "",
        "ATTACH 'new.db' AS n", "PRAGMA user_version = 9", "SELECT load_extension('x')"}) {
    CAPTURE(bad);
    const Result r = at.db({"sql", bad});
    CAPTURE(r.err);
    CHECK(r.exit_code == 2);
    CHECK(r.out.empty());
    CHECK(lines_of(r.err).size() == 1);
  }
  CHECK(read_text(at.folder / "a.db") == before);
  CHECK_FALSE(std::filesystem::exists(at.folder / "copy.db"));
  CHECK_FALSE(std::filesystem::exists(at.folder / "new.db"));
}

// The shell would have to be built with the sanitizers, too.
#ifndef __SANITIZE_ADDRESS__
TEST_CASE("the sqlite3 shell gets the same functions") {
  const Invented at;
  if (std::system("sqlite3 --version > /dev/null 2>&1") != 0) {
    MESSAGE("skipped: no sqlite3 shell here");
    return;
  }
  const std::string sql =
      "SELECT median(us), percentile(us, 90), geomean(us), ci_low(us), ci_high(us) FROM sample";
  write_text(at.folder / "ask", std::string(".load ") + FSELAB_SQLITE_MODULE + "\n.mode csv\n" +
                                    ".headers on\n" + sql + ";\nSELECT median('a');\n");
  const std::string line =
      "cd '" + at.folder.path().string() + "' && sqlite3 a.db < ask > out 2>&1";
  CHECK(std::system(line.c_str()) != 0);
  const auto shell = lines_of(read_text(at.folder / "out"));
  REQUIRE(shell.size() >= 3);
  CHECK(contains(shell[2], "expected a number"));
  const auto here = nlohmann::json::parse(at.db({"sql", sql, "--json"}).out).front();
  std::istringstream row(shell[1]);
  for (const char* name :
       {"median(us)", "percentile(us, 90)", "geomean(us)", "ci_low(us)", "ci_high(us)"}) {
    std::string value;
    std::getline(row, value, ',');
    CAPTURE(name);
    CHECK(std::stod(value) == doctest::Approx(here[name].get<double>()).epsilon(1e-12));
  }
}
#endif

TEST_CASE("every verb answers while another process writes") {
  const Invented at;
  SQLite::Database writer((at.folder / "a.db").string(), SQLite::OPEN_READWRITE);
  SQLite::Transaction open(writer, SQLite::TransactionBehavior::IMMEDIATE);
  writer.exec("UPDATE layer_case SET state = 'pending'");
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"ls"},
                                             {"best"},
                                             {"top", "3"},
                                             {"failures"},
                                             {"coverage"},
                                             {"show", "1"},
                                             {"check"},
                                             {"sql", "SELECT 1"}}) {
    CAPTURE(words.front());
    const Result r = at.db(words);
    CAPTURE(r.err);
    CHECK(r.exit_code == 0);
  }
  CHECK(nlohmann::json::parse(at.db({"ls", "--json"}).out)[0]["pending"] == 0);
  open.commit();
  CHECK(nlohmann::json::parse(at.db({"ls", "--json"}).out)[0]["pending"] == 96);
}

TEST_CASE("a run is watched from its first attempt to its last") {
  const Measured at;
  Command run(at.folder.path(), {"run", "tiny.yaml", "tokens=[1,2,4,5]", "--db", "w.db"}, "run");
  int64_t seen = 0, looks = 0;
  while (run.running()) {
    if (!std::filesystem::exists(at.folder / "w.db")) continue;
    const Result r = at.fselab({"db", "ls", "--db", "w.db", "--json"});
    if (contains(r.err, "not a fselab database")) continue;  // its schema is not there yet
    CAPTURE(r.err);
    REQUIRE(r.exit_code == 0);
    const auto rows = nlohmann::json::parse(r.out);
    const int64_t attempts = rows.empty() ? 0 : rows[0]["attempts"].get<int64_t>();
    CHECK(attempts >= seen);
    seen = attempts;
    ++looks;
  }
  CHECK(run.wait().exit_code == 0);
  CHECK(looks > 0);
  CHECK(nlohmann::json::parse(at.fselab({"db", "ls", "--db", "w.db", "--json"}).out)[0]["done"] ==
        4);
}

TEST_CASE("check finds what was torn out of a file, and exits 5") {
  const Invented at;
  const Result sound = at.db({"check"});
  CHECK(sound.exit_code == 0);
  CHECK(sound.out == "a.db: sound\n");
  {
    SQLite::Database db((at.folder / "a.db").string(), SQLite::OPEN_READWRITE);
    db.exec("DELETE FROM sample WHERE attempt = 1; DELETE FROM run");
  }
  const Result torn = at.db({"check"});
  CHECK(torn.exit_code == 5);
  CHECK(contains(torn.out, "measured without samples"));
  CHECK(contains(torn.out, "orphan: a row of attempt refers to no row of run"));
  std::filesystem::resize_file(at.folder / "a.db", 30'000);
  const Result cut = at.db({"check"});
  CHECK(cut.exit_code == 5);
  write_text(at.folder / "a.db", "not a database at all, but long enough to be read as one");
  CHECK(at.db({"check"}).exit_code == 5);
}

TEST_CASE("migrate makes a backup first, and only forward") {
  const TemporaryFolder folder;
  {
    SQLite::Database db((folder / "old.db").string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    db.exec(schema_statements(1));
    db.exec(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = 1", kApplicationId));
  }
  const auto migrate = [&] { return fselab(folder.path(), {"db", "migrate", "--db", "old.db"}); };
  CHECK(fselab(folder.path(), {"db", "ls", "--db", "old.db"}).exit_code == 0);
  CHECK(migrate().out == "old.db: migrated; backup: old.db.v1.bak\n");
  CHECK(migrate().out == "old.db: up to date\n");
  const auto version_of = [&](const char* file) {
    SQLite::Database db((folder / file).string());
    return db.execAndGet("PRAGMA user_version").getInt();
  };
  CHECK(version_of("old.db") == kSchemaVersion);
  CHECK(version_of("old.db.v1.bak") == 1);
  {
    SQLite::Database db((folder / "old.db").string(), SQLite::OPEN_READWRITE);
    db.exec("PRAGMA user_version = 99");
  }
  const Result newer = migrate();
  CHECK(newer.exit_code == 5);
  CHECK(contains(newer.err, "99"));
  CHECK(fselab(folder.path(), {"db", "migrate", "--db", "none.db"}).exit_code == 2);
}

TEST_CASE("gc closes what a killed run left, and keeps every number") {
  const Measured at;
  at.open().exec(
      "INSERT INTO run (study, command, yaml_text, started, host, boot_id, pid_namespace, pid, "
      "pid_started) SELECT study, command, yaml_text, started, host, 'another boot', "
      "pid_namespace, pid, pid_started FROM run LIMIT 1;"
      "INSERT INTO attempt (study, run, environment, level, step_key, workload, kernel, tile, "
      "tile_axes, status, started) SELECT study, (SELECT max(id) FROM run), environment, 'step', "
      "'left', workload, kernel, tile, tile_axes, 'running', started FROM attempt LIMIT 1;"
      "CREATE TABLE bulk AS SELECT zeroblob(500000) AS b; DROP TABLE bulk");
  const std::string all = "SELECT group_concat(id || ':' || median_us) FROM attempt";
  const std::string before = at.open().execAndGet(all).getString();
  const Result r = at.fselab({"db", "gc", "--db", "r.db"});
  CAPTURE(r.err);
  CHECK(r.exit_code == 0);
  CHECK(contains(r.out, " bytes smaller\n"));
  CHECK(at.open().execAndGet(all).getString() == before);
  CHECK(at.open()
            .execAndGet("SELECT status || ' ' || substr(reason, 1, 12) FROM attempt WHERE "
                        "step_key = 'left'")
            .getString() == "crashed interrupted:");
  CHECK(at.fselab({"db", "gc", "--db", "none.db"}).exit_code == 2);
}

TEST_CASE("verbs that only read make no file, and say what is missing") {
  const TemporaryFolder folder;
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"ls"},
                                             {"best"},
                                             {"top", "3"},
                                             {"failures"},
                                             {"coverage"},
                                             {"show", "1"},
                                             {"check"},
                                             {"sql", "SELECT 1"},
                                             {"steps", "1"},
                                             {"rerun", "1"},
                                             {"diff", "a", "b"}}) {
    std::vector<std::string> all{"db"};
    all.insert(all.end(), words.begin(), words.end());
    all.insert(all.end(), {"--db", "none.db"});
    const Result r = fselab(folder.path(), all);
    CAPTURE(words.front());
    CHECK(r.exit_code == 2);
    CHECK(contains(r.err, "none.db"));
    CHECK(lines_of(r.err).size() == 1);
    CHECK_FALSE(std::filesystem::exists(folder / "none.db"));
  }
}

}  // namespace
}  // namespace fse::test
