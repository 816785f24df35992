#include <doctest/doctest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "tests/experiments/measured_layer.h"

namespace fse::test {
namespace {

// {"time_us": [recorded, now], ...}
std::map<std::string, std::pair<nlohmann::json, nlohmann::json>> both_of(const Result& rerun) {
  std::map<std::string, std::pair<nlohmann::json, nlohmann::json>> rows;
  for (const auto& row : nlohmann::json::parse(rerun.out))
    rows[row["what"]] = {row["recorded"], row["now"]};
  return rows;
}

TEST_CASE("rerun measures a layer's and a step's attempt again, and records nothing") {
  const Measured at;
  const std::string before = read_text(at.folder / "r.db");
  const std::string measured = "status = 'measured' AND verified = 1 AND level = ";
  for (const std::string level : {"'layer'", "'step' AND n > 6"}) {
    CAPTURE(level);
    const int64_t id = at.attempt(measured + level);
    REQUIRE(id > 0);
    const Result r = at.fselab({"db", "rerun", std::to_string(id), "--db", "r.db", "--json"});
    CAPTURE(r.err);
    REQUIRE(r.exit_code == 0);
    auto rows = both_of(r);
    SQLite::Database db = at.open();
    SQLite::Statement row(db, "SELECT median_us, n, rel_frobenius FROM attempt WHERE id = ?");
    row.bind(1, id);
    REQUIRE(row.executeStep());
    CHECK(rows["status"] == std::pair<nlohmann::json, nlohmann::json>{"measured", "measured"});
    CHECK(rows["time_us"].first == row.getColumn(0).getDouble());
    CHECK(rows["time_us"].second.get<double>() > 0);
    CHECK(rows["n"].first == row.getColumn(1).getInt64());
    CHECK(rows["n"].second == rows["n"].first);  // as many rounds as then
    // The same weights, inputs and tiles: the error is the same to the last digit.
    CHECK(rows["rel_frobenius"].second == row.getColumn(2).getDouble());
    CHECK(rows["git_revision"].first == rows["git_revision"].second);
  }
  CHECK(read_text(at.folder / "r.db") == before);
}

TEST_CASE("rerun says what it cannot measure again") {
  const Measured at;
  for (const auto& [id, code, why] : std::vector<std::tuple<std::string, int, std::string>>{
           {"999999", 2, "no attempt 999999 that ended, expected a number of `fselab db top`"},
           {"-1", 2, "fselab db --help explains it"},
           {"first", 2, "fselab db --help explains it"}}) {
    CAPTURE(id);
    const Result r = at.fselab({"db", "rerun", id, "--db", "r.db"});
    CAPTURE(r.err);
    CHECK(r.exit_code == code);
    CHECK(r.out.empty());
    CHECK(contains(r.err, why));
    CHECK(lines_of(r.err).size() == 1);
  }
  CHECK(at.fselab({"db", "rerun", "1", "--db", "missing.db"}).exit_code == 2);
  CHECK_FALSE(std::filesystem::exists(at.folder / "missing.db"));
  // What another fselab's kernel measured, this one cannot.
  const int64_t id = at.attempt("level = 'step' AND status = 'measured'");
  at.open().exec("DROP TRIGGER attempt_update");
  at.open().exec("UPDATE attempt SET kernel = 'cpu.gone' WHERE id = " + std::to_string(id));
  const Result gone = at.fselab({"db", "rerun", std::to_string(id), "--db", "r.db"});
  CHECK(gone.exit_code == 2);
  CHECK(contains(gone.err, "this fselab has no kernel 'cpu.gone', expected one of the catalogue"));
}

TEST_CASE("an attempt that ends otherwise than it did makes rerun exit 1") {
  const Measured at;
  const int64_t id = at.attempt("level = 'step' AND status = 'measured' AND n > 6");
  at.open().exec("DROP TRIGGER attempt_update");
  at.open().exec(
      "UPDATE attempt SET status = 'wrong', verified = 0, first_bad = 'y[0,0]' "
      "WHERE id = " +
      std::to_string(id));
  const Result r = at.fselab({"db", "rerun", std::to_string(id), "--db", "r.db", "--json"});
  CAPTURE(r.err);
  CHECK(r.exit_code == 1);
  CHECK(both_of(r)["status"] == std::pair<nlohmann::json, nlohmann::json>{"wrong", "measured"});
}

}  // namespace
}  // namespace fse::test
