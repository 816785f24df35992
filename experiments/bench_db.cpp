// How long `fselab db best`, `top` and their like take on 1,000,000 attempts with six samples each:
// bench_db [--db=FILE] [--attempts=N] [--layers=PERCENT] and Google Benchmark's own options. A FILE
// that is there already is measured as it is; without one a database is made and removed.
#include <SQLiteCpp/SQLiteCpp.h>
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string_view>

#include "core/error.h"
#include "core/store.h"
#include "reports/queries.h"

namespace fse {
namespace {

struct Asked {
  int64_t attempts = 1'000'000, layer_percent = 10;
  std::filesystem::path db;
};

constexpr int kStudies = 10, kTokens = 14;

Case case_of(int model, DType dtype, Shared shared, int tokens) {
  Case c;
  c.layer = {.model = fmt::format("model-{}", model),
             .hidden = 1024 + 128 * model,
             .intermediate = 512,
             .routing = {.experts = 512, .top_k = 10, .renormalize = true},
             .shared = {.count = 1, .shared_width = 512, .weight = SharedWeight::sigmoid_gate},
             .dtype = dtype,
             .activations = Activations::bf16};
  c.variant.shared = shared;
  c.tokens = tokens;
  c.device = "hip:0";
  return c;
}

// All studies hold the same cases, as a nightly run of one sweep leaves them.
std::vector<CaseRecord> all_cases() {
  std::vector<CaseRecord> all;
  for (int model = 0; model < 12; ++model)
    for (const DType dtype : {DType::bf16, DType::fp8_block128})
      for (int t = 0; t < kTokens; ++t)
        for (const Gate gate : {Gate::separate, Gate::fused})
          for (const Shared shared : {Shared::mlp, Shared::mlp_overlapped, Shared::slot}) {
            Case c = case_of(model, dtype, shared, 1 << t);
            c.variant.gate = gate;
            all.push_back({c, gate == Gate::separate && shared == Shared::mlp});
          }
  return all;
}

int64_t add_study(Store& store, int i, int64_t environment) {
  const int64_t study = store.add_study({.name = fmt::format("night-{}", i),
                                         .yaml_text = "study: night\n",
                                         .plan_hash = fmt::format("{:04x}", i),
                                         .command = "fselab run night.yaml --db bench.db",
                                         .created = ""},
                                        all_cases());
  AttemptRecord first;  // so that there is a run that the others belong to
  first.step_key = "first";
  const int64_t id = store.begin_attempt(study, environment, first);
  first.outcome = {.status = Status::illegal, .reason = "first", .accuracy = {}, .samples_us = {}};
  store.finish_attempt(id, first);
  return study;
}

// Every tenth attempt failed; times are scattered, so that no order of rows is the order of time.
void add_attempts(SQLite::Database& db, int64_t study, const Asked& asked) {
  const int64_t n = asked.attempts / kStudies, layers = n * asked.layer_percent / 100;
  db.exec(fmt::format(R"sql(
CREATE TEMP TABLE number AS WITH RECURSIVE
  n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {n})
  SELECT i, i < {layers} AS layer, 20 + (i * 2654435761 % 1000003) / 1000.0 AS us FROM n;
CREATE TEMP TABLE chosen AS SELECT ordinal AS o, id FROM layer_case WHERE study = {study};
CREATE UNIQUE INDEX chosen_o ON chosen (o);
INSERT INTO attempt (study, run, environment, level, case_id, step_key, workload, kernel, tile,
    tile_axes, status, verified, reason, started, ended, rel_frobenius, worst, bound, first_bad,
    median_us, lo_us, hi_us, n, bytes, flops, floor_us, read_gbs, peak_gflops, weight_sets)
  SELECT {study}, (SELECT max(id) FROM run), {study}, iif(layer, 'layer', 'step'),
    iif(layer, (SELECT id FROM chosen WHERE o = i % (SELECT count(*) FROM chosen)), NULL),
    iif(layer, NULL, 'grouped_stage1 tokens=' || (i % 97) || ' hidden=2048 intermediate=512'),
    'routing=uniform cache=cold_weights seed=1', iif(layer, '', 'hip.grouped_stage1.stream'),
    iif(layer, '', 'warps=' || (i % 16) || ' ring=' || (i % 7)), '{{"warps": 8, "ring": 4}}',
    iif(i % 10, 'measured', 'wrong'), i % 10 > 0, '', '2026-11-25T00:00:00.000Z',
    '2026-11-25T00:00:01.000Z', 0.001, 0.01, 0.004, iif(i % 10, '', 'y[3,17] = nan'),
    iif(i % 10, us, NULL), iif(i % 10, us * 0.99, NULL), iif(i % 10, us * 1.01, NULL),
    iif(i % 10, 6, 0), 1e6, 1e6, 18, 3000, 60000, 4 FROM number;
)sql",
                      fmt::arg("n", n), fmt::arg("layers", layers), fmt::arg("study", study)));
}

void add_samples(SQLite::Database& db) {
  db.exec(
      "INSERT INTO sample (attempt, round, us) SELECT a.id, r.value, a.median_us * (1 + "
      "0.001 * r.value) FROM attempt a, json_each('[0, 1, 2, 3, 4, 5]') r WHERE a.n = 6");
}

// Samples are written while their attempts are open; here they come after, so the guard is away
// meanwhile.
void fill(const std::filesystem::path& file, const Asked& asked) {
  Store store = Store::create_or_open(file);
  SQLite::Database& db = store.database();
  db.exec("PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF");
  const std::string guard =
      db.execAndGet("SELECT sql FROM sqlite_schema WHERE name = 'sample_insert'").getString();
  for (int i = 1; i <= kStudies; ++i) {
    const int64_t environment = store.add_environment(
        {.device = {.name = "hip:0", .kind = "hip", .arch = "sm_90", .product = "Some GPU"},
         .compiler = "g++",
         .git_revision = fmt::format("{:07x}", i),
         .host_os = "Linux"});
    const int64_t study = add_study(store, i, environment);
    SQLite::Transaction transaction(db);
    add_attempts(db, study, asked);
    transaction.commit();
    db.exec("DROP TABLE temp.number; DROP TABLE temp.chosen");
  }
  db.exec("DROP TRIGGER sample_insert");
  SQLite::Transaction transaction(db);
  add_samples(db);
  db.exec(guard);
  transaction.commit();
}

void print_size(const std::filesystem::path& file) {
  const Store store = Store::open_read_only(file);
  const auto count = [&](const char* from) {
    return store.database().execAndGet(fmt::format("SELECT count(*) FROM {}", from)).getInt64();
  };
  fmt::print("{} attempts, {} of them layers, {} samples, {} cases, {:.0f} MB\n", count("attempt"),
             count("attempt WHERE level = 'layer'"), count("sample"), count("layer_case"),
             static_cast<double>(std::filesystem::file_size(file)) / 1e6);
}

// As the command does it: opened anew for every answer.
void measure(const std::string& name, const std::filesystem::path& file,
             std::function<Grid(const Store&)> query) {
  benchmark::RegisterBenchmark(name.c_str(), [file, query](benchmark::State& state) {
    size_t rows = 0;
    for (auto _ : state) rows = query(Store::open_read_only(file)).rows.size();
    state.counters["rows"] = static_cast<double>(rows);
  })->Unit(benchmark::kMillisecond);
}

void register_all(const std::filesystem::path& file) {
  const auto best = [](std::vector<std::string> conditions) {
    return [conditions](const Store& s) { return best_layers(s, parse_filter(conditions)); };
  };
  const auto top = [](std::vector<std::string> conditions, const std::string& level) {
    return [conditions, level](const Store& s) {
      return top_attempts(s, parse_filter(conditions), level, 10);
    };
  };
  measure("best", file, best({}));
  measure("best model=model-3 tokens>=4", file, best({"model=model-3", "tokens>=4"}));
  measure("best git_revision=0000004", file, best({"git_revision=0000004"}));
  measure("best model=none", file, best({"model=none"}));
  measure("top 10", file, top({}, "layer"));
  measure("top 10 --level step", file, top({}, "step"));
  measure("top 10 model=model-3 tokens>=4", file, top({"model=model-3", "tokens>=4"}, "layer"));
  measure("top 10 model=none", file, top({"model=none"}, "layer"));
  measure("top 10 --level step kernel=none", file, top({"kernel=none"}, "step"));
  measure("failures", file, [](const Store& s) { return count_failures(s, {}); });
  measure("ls", file, [](const Store& s) { return list_studies(s, {}); });
  measure("coverage", file, [](const Store& s) { return coverage(s, {}); });
}

// Takes its own options out of the command line.
Asked asked_of(int& argc, char** argv) {
  Asked asked;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word.starts_with("--attempts="))
      asked.attempts = std::atoll(argv[i] + 11);
    else if (word.starts_with("--layers="))
      asked.layer_percent = std::atoll(argv[i] + 9);
    else if (word.starts_with("--db="))
      asked.db = word.substr(5);
    else
      argv[kept++] = argv[i];
  }
  argc = kept;
  if (asked.attempts < kStudies || asked.layer_percent < 0 || asked.layer_percent > 100)
    fail_usage("expected --attempts=N of at least 10 and --layers=PERCENT");
  return asked;
}

struct TemporaryFile {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / fmt::format("bench_db.{}.db", getpid());
  ~TemporaryFile() {
    std::error_code none;
    for (const char* tail : {"", "-wal", "-shm"})
      std::filesystem::remove(path.string() + tail, none);
  }
};

}  // namespace
}  // namespace fse

int main(int argc, char** argv) try {
  const fse::Asked asked = fse::asked_of(argc, argv);
  const fse::TemporaryFile made;
  const std::filesystem::path& file = asked.db.empty() ? made.path : asked.db;
  if (!std::filesystem::exists(file)) fse::fill(file, asked);
  fse::print_size(file);
  fse::register_all(file);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
} catch (const fse::Error& error) {
  fmt::print(stderr, "bench_db: {}\n", error.what());
  return static_cast<int>(error.kind);
}
