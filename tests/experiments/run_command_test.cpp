#include <doctest/doctest.h>
#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <thread>

#include "core/rng.h"
#include "tests/experiments/command.h"

namespace fse::test {
namespace {

namespace fs = std::filesystem;

// Memory where there is some to be had: thousands of commits to a slow disk prove nothing more.
fs::path fast_folder() {
  return access("/dev/shm", W_OK) == 0 ? fs::path("/dev/shm") : fs::temp_directory_path();
}

// A folder with a model that takes microseconds, and a sweep over it.
class Workbench {
 public:
  Workbench() : folder_(fast_folder()) {
    write_text(folder_ / "config.json", config(256, 16));
    write_text(folder_ / "tiny.yaml",
               "study: tiny\nmodels: ./config.json\ntokens: [1, 3]\ndevice: cpu\n"
               "variants: {gate: fused, topk: fused, shared: slot}\nbaseline: {shared: slot}\n"
               "tune: {strategy: random, budget: 5}\n"
               "measure: {cache: warm, min_rounds: 6, interval: 50%}\n");
  }

  static std::string config(int hidden, int experts) {
    return fmt::format(R"({{"model_type": "qwen3_next", "hidden_size": {},
      "moe_intermediate_size": 128, "num_experts": {}, "num_experts_per_tok": 4,
      "norm_topk_prob": true, "shared_expert_intermediate_size": 128, "num_hidden_layers": 1}})",
                       hidden, experts);
  }

  std::vector<std::string> command(const std::vector<std::string>& overrides = {}) const {
    std::vector<std::string> words{"run", "tiny.yaml", "--db", "r.db"};
    words.insert(words.end(), overrides.begin(), overrides.end());
    return words;
  }
  Result run(const std::vector<std::string>& overrides = {}) const {
    return fselab(folder_.path(), command(overrides));
  }
  std::unique_ptr<Command> start(const std::string& name = "command") const {
    return std::make_unique<Command>(folder_.path(), command(), name);
  }
  fs::path operator/(const std::string& name) const { return folder_ / name; }

  // The first column of every row, as text; nothing where there is no such table yet.
  std::vector<std::string> column(const std::string& sql) const {
    std::vector<std::string> values;
    if (!fs::exists(folder_ / "r.db")) return values;
    try {
      SQLite::Database db((folder_ / "r.db").string(), SQLite::OPEN_READONLY, 10000);
      SQLite::Statement query(db, sql);
      while (query.executeStep()) values.push_back(query.getColumn(0).getString());
    } catch (const SQLite::Exception& error) {
      if (!contains(error.what(), "no such table")) throw;
    }
    return values;
  }
  int64_t count(const std::string& from) const {
    const auto value = column("SELECT count(*) FROM " + from);
    return value.empty() ? 0 : std::stoll(value.front());
  }

 private:
  TemporaryFolder folder_;
};

// Waits until it holds, or until the command ended; false then.
bool wait_for(Command& command, const std::function<bool()>& condition) {
  while (!condition()) {
    if (!command.running()) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

// What holds for every ledger, however often the runs that wrote it were interrupted.
void check_sound(const Workbench& bench) {
  CHECK(bench.column("PRAGMA integrity_check") == std::vector<std::string>{"ok"});
  CHECK(bench.count("pragma_foreign_key_check") == 0);
  CHECK(bench.count("winner w JOIN attempt a ON a.id = w.attempt WHERE a.verified = 0 "
                    "OR a.status <> 'measured'") == 0);
  CHECK(bench.count("attempt WHERE status = 'running'") == 0);
}

// Every case of the sweep done, with one result that won and its steps in full.
void check_complete(const Workbench& bench, int64_t cases) {
  check_sound(bench);
  CHECK(bench.count("study") == 1);
  CHECK(bench.count("layer_case") == cases);
  CHECK(bench.count("layer_case WHERE state = 'done'") == cases);
  CHECK(bench.count("attempt WHERE level = 'layer' AND status = 'measured'") == cases);
  CHECK(bench.count("winner WHERE level = 'layer'") == cases);
  CHECK(bench.count("layer_case c WHERE NOT EXISTS (SELECT 1 FROM winner w WHERE w.key = c.id "
                    "AND w.level = 'layer')") == 0);
  CHECK(bench.count("step_time") == cases * 6);
  // A budget of five: no step was searched twice with other tiles.
  CHECK(bench.count("(SELECT DISTINCT step_key, kernel, tile FROM attempt WHERE level = 'step') "
                    "GROUP BY step_key HAVING count(*) > 5") == 0);
}

TEST_CASE("a run records what it measured, and repeats nothing") {
  const Workbench bench;
  const std::vector<std::string> both{"variants.shared=[mlp, slot]", "baseline={shared: mlp}"};
  const Result first = bench.run(both);
  CAPTURE(first.err);
  REQUIRE(first.exit_code == 0);
  CHECK(contains(first.out, "fused/fused/slot"));
  CHECK(contains(first.err, "[4/4] ./config.json bf16 tokens=3 "));
  check_sound(bench);
  CHECK(bench.count("layer_case WHERE state = 'done'") == 4);
  CHECK(bench.count("layer_case WHERE baseline = 1") == 2);
  CHECK(bench.count("winner WHERE level = 'layer'") == 4);
  CHECK(bench.count("attempt WHERE level = 'layer'") == 4);
  CHECK(bench.count("attempt WHERE level = 'layer' AND verified = 1 AND n >= 6 AND "
                    "lo_us <= median_us AND median_us <= hi_us AND lo_us > 0 AND floor_us > 0 "
                    "AND rel_frobenius <= bound AND routing_agreement = 1") == 4);
  const int64_t steps = bench.count("step_time");
  CHECK(steps == 2 * (6 + 9));  // slot: gate to combine; mlp adds its two stages and the sum
  CHECK(bench.count("step_time WHERE n >= 6 AND lo_us <= median_us AND median_us <= hi_us "
                    "AND lo_us > 0 AND floor_us >= 0 AND bytes > 0") == steps);
  // A step's tile is the fastest of the step, or was taken for the layer's sake.
  CHECK(bench.count("step_time t WHERE NOT EXISTS (SELECT 1 FROM winner w JOIN attempt a ON "
                    "a.id = w.attempt WHERE w.level = 'step' AND a.kernel = t.kernel "
                    "AND a.tile = t.tile) AND NOT EXISTS (SELECT 1 FROM joint_trial j WHERE "
                    "j.attempt = t.attempt AND j.step = t.step AND j.kernel = t.kernel AND "
                    "j.tile = t.tile AND j.taken)") == 0);
  const int64_t attempts = bench.count("attempt"), samples = bench.count("sample");
  const Result again = bench.run(both);
  CHECK(again.exit_code == 0);
  CHECK(again.out == first.out);
  CHECK(bench.count("attempt") == attempts);
  CHECK(bench.count("sample") == samples);
}

TEST_CASE("a run ends with its own comparison, and every study can be reported again") {
  const Workbench bench;
  const Result one = bench.run({"tokens=1"});
  const Result three = bench.run({"tokens=3"});
  const Result again = bench.run({"tokens=1"});
  REQUIRE(again.exit_code == 0);
  CHECK(again.out == one.out);
  CHECK(again.out != three.out);
  const auto report = [&](const std::string& study) {
    return fselab((bench / "").parent_path(), {"report", "--db", "r.db", "--study", study});
  };
  CHECK(report("tiny").out == three.out);
  CHECK(report("1").out == one.out);
  CHECK(report(bench.column("SELECT plan_hash FROM study WHERE id = 1").front()).out == one.out);
  CHECK(report("2").out == three.out);
  const Result unknown = report("3");
  CHECK(unknown.exit_code == 2);
  CHECK(contains(unknown.err,
                 "no study '3', expected a name, an id in brackets or the begin of "
                 "a plan hash: tiny (2), tiny (1)"));
}

TEST_CASE("Ctrl-C stops with 4, and the same command goes on behind what is finished") {
  const Workbench bench;
  std::signal(SIGHUP, SIG_DFL);  // under nohup its children would go on ignoring it
  const auto interrupt = [&](int signal, const std::function<bool(Command&)>& when) {
    const auto command = bench.start();
    REQUIRE(wait_for(*command, [&] { return when(*command); }));
    command->send(signal);
    const Result r = command->wait();
    CAPTURE(r.err);
    CHECK(r.exit_code == 4);
    CHECK(r.err.ends_with(" of 2 cases pending; the same command resumes\n"));
    CHECK(!r.out.empty());  // the comparison of what there is
    CHECK(bench.column("PRAGMA integrity_check") == std::vector<std::string>{"ok"});
  };
  // While the ceilings are measured, nothing is done yet.
  interrupt(SIGINT, [&](Command&) { return bench.count("layer_case") == 2; });
  CHECK(bench.count("attempt") == 0);
  interrupt(SIGHUP,
            [&](Command&) { return bench.count("attempt WHERE status = 'measured'") >= 7; });
  CHECK(bench.count("layer_case WHERE state = 'pending'") == 2);
  interrupt(SIGINT, [&](Command& command) { return contains(command.err(), "[1/2] "); });
  CHECK(bench.count("layer_case WHERE state = 'done'") == 1);
  const int64_t attempts = bench.count("attempt");
  const Result resumed = bench.run();
  CAPTURE(resumed.err);
  CHECK(resumed.exit_code == 0);
  CHECK(contains(resumed.err, "[2/2] "));
  CHECK(!contains(resumed.err, "[1/2] "));
  CHECK(bench.count("attempt") > attempts);
  check_complete(bench, 2);
  // Once screened and once in the finals, whatever was interrupted.
  CHECK(bench.count("attempt WHERE level = 'step' AND status = 'measured' GROUP BY step_key, "
                    "kernel, tile HAVING count(*) > 2") == 0);
}

TEST_CASE("a run that is killed at any moment is resumed") {
  const Workbench bench;
  Rng rng(2026);
  int killed = 0;
  int64_t seen = 0;
  for (int round = 0; round < 5; ++round) {
    const int64_t until = seen + rng.below(15);
    const auto pause = std::chrono::microseconds(rng.below(20000));
    CAPTURE(until);
    const auto command = bench.start();
    if (!wait_for(*command, [&] { return bench.count("attempt") >= until; })) break;
    std::this_thread::sleep_for(pause);
    command->send(SIGKILL);
    killed += command->wait().exit_code == 128 + SIGKILL;
    CHECK(bench.column("PRAGMA quick_check") == std::vector<std::string>{"ok"});
    seen = bench.count("attempt");
  }
  CHECK(killed >= 3);
  const Result last = bench.run();
  CAPTURE(last.err);
  CHECK(last.exit_code == 0);
  check_complete(bench, 2);
  CHECK(bench.count("attempt WHERE status NOT IN ('measured', 'crashed')") == 0);
  CHECK(bench.count("attempt WHERE status = 'crashed' AND reason NOT LIKE 'interrupted: %'") == 0);
}

TEST_CASE("two runs at once on one database leave it sound and complete") {
  const Workbench bench;
  const auto one = bench.start("one"), other = bench.start("other");
  const Result a = one->wait(), b = other->wait();
  CAPTURE(a.err);
  CAPTURE(b.err);
  CHECK(a.exit_code == 0);
  CHECK(b.exit_code == 0);
  check_sound(bench);
  CHECK(bench.count("study") == 1);
  CHECK(bench.count("layer_case WHERE state = 'done'") == 2);
  CHECK(bench.count("layer_case") == 2);
}

TEST_CASE("a database that cannot be written exits with 3 before anything runs") {
  const Workbench bench;
  // Nobody, not even root, creates files there.
  const Result proc = fselab(bench / ".", {"run", "tiny.yaml", "--db", "/proc/r.db"});
  CAPTURE(proc.err);
  CHECK(proc.exit_code == 3);
  CHECK(proc.out.empty());
  CHECK(proc.err.starts_with("fselab: /proc/r.db: "));
  CHECK(lines_of(proc.err).size() == 1);
  if (geteuid() == 0) return;  // root may write to a folder that is read-only
  fs::create_directory(bench / "closed");
  fs::permissions(bench / "closed", fs::perms::owner_read | fs::perms::owner_exec);
  CHECK(fselab(bench / ".", {"run", "tiny.yaml", "--db", "closed/r.db"}).exit_code == 3);
}

TEST_CASE("what does not fit into memory is recorded with both sizes, and the rest runs") {
  const Workbench bench;
  write_text(bench / "huge.json", Workbench::config(1 << 20, 65536));
  const Result r =
      bench.run({"models=[./huge.json, ./config.json]", "tokens=1", "tune.strategy=none"});
  CAPTURE(r.err);
  CHECK(r.exit_code == 1);
  check_sound(bench);
  CHECK(bench.column("SELECT state FROM layer_case ORDER BY ordinal") ==
        std::vector<std::string>{"failed", "done"});
  const auto reasons = bench.column("SELECT reason FROM attempt WHERE status = 'out_of_memory'");
  REQUIRE(reasons.size() == 1);
  CAPTURE(reasons.front());
  CHECK(reasons.front().starts_with("needs "));
  CHECK(contains(reasons.front(), "), cpu has "));
  CHECK(bench.column("SELECT reason FROM layer_case WHERE state = 'failed'") == reasons);
}

}  // namespace
}  // namespace fse::test
