#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "tests/experiments/command.h"
#include "tests/temporary_folder.h"

namespace fse::test {

// Times are made from kernel and tile, so that who wins does not depend on the machine; the third
// choice that a process verifies is wrong.
TEST_CASE(
    "db tuning tells of every workload its winner, what the default would lose, and failures") {
  const TemporaryFolder folder;
  write_text(folder / "config.json", kTinyConfig);
  write_text(folder / "tiny.yaml",
             "study: tiny\nmodels: ./config.json\ntokens: [1, 3]\n"
             "device: fault:cpu?times=made&wrong=verify@3\n"
             "variants: {gate: fused, topk: fused, shared: [mlp, slot]}\n"
             "baseline: {shared: mlp}\ntune: {strategy: random, budget: 5}\n"
             "measure: {cache: warm, min_rounds: 6}\n");
  const Result ran = fselab(folder.path(), {"run", "tiny.yaml", "--db", "t.db", "--quiet"});
  CAPTURE(ran.err);
  REQUIRE(ran.exit_code == 0);

  const Result told = fselab(folder.path(), {"db", "tuning", "--db", "t.db", "--json"});
  REQUIRE(told.exit_code == 0);
  const auto rows = nlohmann::json::parse(told.out);
  REQUIRE(rows.size() == 2);
  const auto best =
      nlohmann::json::parse(fselab(folder.path(), {"db", "best", "--db", "t.db", "--json"}).out);
  std::string failures;
  for (size_t i = 0; i < rows.size(); ++i) {
    CAPTURE(rows[i].dump());
    CHECK(rows[i]["tokens"] == (i == 0 ? 1 : 3));
    CHECK(rows[i]["layer_time_us"] == best[i]["layer_time_us"]);
    CHECK(rows[i]["variant"] == best[i]["variant"]);
    CHECK(rows[i]["change_percent"].get<double>() <= 0);
    CHECK(rows[i]["default_percent"].get<double>() >= 0);
    CHECK(rows[i]["default_lo"].get<double>() <= rows[i]["default_hi"].get<double>());
    CHECK(rows[i]["library_percent"].is_null());  // the cpu has none
    CHECK(rows[i]["aa_percent"].is_number());
    CHECK(rows[i]["attempts"].get<int>() > 10);
    failures += rows[i]["failures"].get<std::string>() + ";";
  }
  CHECK(failures == "1 wrong;1 wrong;");  // each in a fresh process

  const Result one = fselab(folder.path(), {"db", "tuning", "tokens=3", "--db", "t.db", "--md"});
  CHECK(one.exit_code == 0);
  CHECK(lines_of(one.out).size() == 3);
}

}  // namespace fse::test
