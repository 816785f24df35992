#include "reports/queries.h"

#include <doctest/doctest.h>

#include "tests/reports/synthetic.h"

using namespace fse;
using namespace fse::test;

namespace {

struct Filled {
  TemporaryFolder folder;
  SyntheticStudy s{folder / "all.db"};
  Filled() { fill_realistic(s); }
};

const Cell& at(const Grid& grid, size_t row, const std::string& column) {
  for (size_t c = 0; c < grid.columns.size(); ++c)
    if (grid.columns[c] == column) return grid.rows.at(row).at(c);
  throw std::runtime_error("no column " + column);
}
std::string text_at(const Grid& grid, size_t row, const std::string& column) {
  return std::get<std::string>(at(grid, row, column));
}
int64_t number_at(const Grid& grid, size_t row, const std::string& column) {
  return std::get<int64_t>(at(grid, row, column));
}

}  // namespace

TEST_CASE("best names the fastest variant of every workload") {
  const Filled filled;
  const Grid all = best_layers(filled.s.store, {});
  CHECK(all.rows.size() == 8);  // two models, four token counts
  const Grid one = best_layers(filled.s.store, parse_filter({"model=qwen3-next", "tokens=1"}));
  REQUIRE(one.rows.size() == 1);
  CHECK(text_at(one, 0, "variant") == "fused/fused/slot/staged/stream");
  const Grid many = best_layers(filled.s.store, parse_filter({"model=qwen3-next", "tokens=64"}));
  CHECK(text_at(many, 0, "variant") == "fused/fused/mlp_overlapped/staged/stream");
}

// Conditions about attempts take another way to the same answer.
TEST_CASE("best is the fastest of several attempts, studies and environments") {
  Filled filled;
  Environment other = sample_environment();
  other.device.product = "Another CPU";
  const int64_t environment = filled.s.store.add_environment(other);
  const Case c = with(sample_case(), {Gate::fused, Topk::fused, Shared::slot}, 1);
  for (const double us : {1400.0, 1300.0, 1350.0})
    record(filled.s.store, filled.s.study, filled.s.environment, layer_attempt(c),
           verified_outcome(us));
  record(filled.s.store, filled.s.study, environment, layer_attempt(c), verified_outcome(1200));
  for (const std::vector<std::string>& filter : std::vector<std::vector<std::string>>{
           {"model=qwen3-next", "tokens=1"}, {"model=qwen3-next", "tokens=1", "time_us>1"}}) {
    const Grid best = best_layers(filled.s.store, parse_filter(filter));
    REQUIRE(best.rows.size() == 2);  // one a device
    for (size_t row = 0; row < 2; ++row) {
      const bool here = text_at(best, row, "product") == "Some CPU";
      CHECK(std::get<double>(at(best, row, "layer_time_us")) ==
            doctest::Approx(here ? 1303.9 : 1203.6));
    }
  }
  CHECK(best_layers(filled.s.store, parse_filter({"product=Another CPU"})).rows.size() == 1);
  CHECK(std::get<double>(
            at(best_layers(filled.s.store, parse_filter({"model=qwen3-next", "tokens=1",
                                                         "product=Some CPU", "time_us>1350"})),
               0, "layer_time_us")) == doctest::Approx(1354.05));
}

TEST_CASE("top is in order of time, and takes what the filter leaves") {
  const Filled filled;
  const Grid top = top_attempts(filled.s.store, parse_filter({"tokens>=16"}), "layer", 3);
  REQUIRE(top.rows.size() == 3);
  for (size_t r = 1; r < 3; ++r)
    CHECK(std::get<double>(at(top, r - 1, "time_us")) <= std::get<double>(at(top, r, "time_us")));
  CHECK(number_at(top, 0, "tokens") == 16);
  CHECK(top_attempts(filled.s.store, {}, "step", 5).rows.size() == 1);
}

TEST_CASE("failures and coverage count what has no number") {
  const Filled filled;
  const Grid failures = count_failures(filled.s.store, {});
  REQUIRE(failures.rows.size() == 1);
  CHECK(number_at(failures, 0, "attempts") == 3);
  CHECK(text_at(failures, 0, "status") == "illegal");
  const Grid covered = coverage(filled.s.store, parse_filter({"model=glm-4.7", "gate=fused"}));
  REQUIRE(covered.rows.size() == 6);
  CHECK(number_at(covered, 0, "refused") == 4);
}

TEST_CASE("ls counts cases, --cases lists them, show explains one") {
  const Filled filled;
  const Grid studies = list_studies(filled.s.store, {});
  REQUIRE(studies.rows.size() == 1);
  CHECK(number_at(studies, 0, "cases") == 96);
  CHECK(number_at(studies, 0, "refused") == 24);
  const Grid failed = list_cases(filled.s.store, parse_filter({"state=failed"}));
  REQUIRE(failed.rows.size() == 1);
  const Grid one = show(filled.s.store, text_at(failed, 0, "case_id"));
  CHECK(contains(to_table(one), "wrong: out[3,17] = nan, expected 0.25"));
  CHECK(contains(to_table(show(filled.s.store, "1")), "git_revision"));
  CHECK(show_steps(filled.s.store, "1").rows.size() > 5);
  CHECK(
      contains(error_of([&] { show(filled.s.store, "nothing"); }), "nothing is called 'nothing'"));
}

TEST_CASE("sql reads, has the statistics, and never writes") {
  const Filled filled;
  const auto value = [&](const std::string& sql) {
    return std::get<double>(run_sql(filled.s.store, sql).rows.at(0).at(0));
  };
  const std::string of = " FROM (VALUES (1),(2),(3),(4),(5),(6),(NULL))";
  CHECK(value("SELECT median(column1)" + of) == 3.5);
  CHECK(value("SELECT percentile(column1, 20)" + of) == 2);
  CHECK(value("SELECT ci_low(column1)" + of) == 1);
  CHECK(value("SELECT ci_high(column1)" + of) == 6);
  CHECK(value("SELECT geomean(column1) FROM (VALUES (2),(8))") == doctest::Approx(4));
  const Grid none = run_sql(filled.s.store, "SELECT median(1) WHERE 0");
  CHECK(std::holds_alternative<std::monostate>(none.rows[0][0]));
  const auto error = [&](const std::string& sql) {
    return error_of([&] { run_sql(filled.s.store, sql); });
  };
  CHECK(contains(error("SELECT median('a')"), "expected a number"));
  CHECK(contains(error("SELECT percentile(1, 101)"), "from 0 to 100"));
  CHECK(contains(error("DELETE FROM sample"), "writes"));
  CHECK(contains(error("VACUUM INTO 'x.db'"), "writes"));
  CHECK(contains(error("SELEC 1"), "2: sql: "));
}

TEST_CASE("check finds nothing in a sound file, and what was torn out of one") {
  const Filled filled;
  CHECK(check_store(filled.s.store).rows.empty());
  SQLite::Database raw((filled.folder / "all.db").string(), SQLite::OPEN_READWRITE);
  raw.exec("DELETE FROM sample WHERE attempt = 1");
  const Grid found = check_store(filled.s.store);
  REQUIRE(found.rows.size() == 1);
  CHECK(std::get<std::string>(found.rows[0][0]) == "measured without samples");
}

TEST_CASE("the same rows as table, CSV, JSON and Markdown") {
  const Grid grid{.columns = {"name", "us"},
                  .rows = {{std::string("a,\"b\"\n<i>|"), 1.5}, {std::string("\xff"), Cell{}}}};
  CHECK(to_csv(grid) == "name,us\r\n\"a,\"\"b\"\"\n<i>|\",1.5\r\n\xff,\r\n");
  CHECK(contains(to_json(grid), R"({"name":"a,\"b\"\n<i>|","us":1.5})"));
  CHECK(contains(to_json(grid), R"("us":null)"));
  CHECK(contains(to_markdown(grid), "&lt;i&gt;\\|"));
  CHECK_FALSE(contains(to_table(grid), "b\"\n<i>"));
  CHECK(to_table({.columns = {"a"}, .rows = {}}) == "(no rows)\n");
  CHECK(to_json({.columns = {"a"}, .rows = {}}) == "[]\n");
}
