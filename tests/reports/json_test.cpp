#include "reports/json.h"

#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

#include "reports/compare.h"
#include "reports/rows.h"
#include "tests/reports/synthetic_search.h"

using namespace fse;
using namespace fse::test;
using nlohmann::json;

namespace {

json schema_of(const std::string& name) {
  std::ifstream in(std::string(FSELAB_SOURCE_DIR) + "/reports/" + name);
  return json::parse(in);
}

// What of the document breaks the schema; "" where nothing does.
std::string broken(const json& schema, const json& document) {
  using valijson::adapters::NlohmannJsonAdapter;
  valijson::Schema parsed;
  valijson::SchemaParser().populateSchema(NlohmannJsonAdapter(schema), parsed);
  valijson::ValidationResults results;
  valijson::Validator validator;
  if (validator.validate(parsed, NlohmannJsonAdapter(document), &results)) return "";
  std::string text = "invalid:";
  valijson::ValidationResults::Error error;
  while (results.popError(error)) {
    for (const std::string& part : error.context) text += part;
    text += " " + error.description + "\n";
  }
  return text;
}

std::set<std::string> keys_of(const json& object) {
  std::set<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.insert(key);
  return keys;
}

json report_of(const Store& store) {
  return json::parse(to_json(store, load_report(store)));
}

struct Filled {
  TemporaryFolder folder;
  SyntheticStudy s{folder / "all.db"};
  Filled() {
    fill_realistic(s);
    add_search(s, 60);
    for (const Shared shared : {Shared::mlp, Shared::slot}) add_confirmed(shared);
  }

  // The fastest, with what a fresh process says and with another tile that was tried.
  void add_confirmed(Shared shared) {
    AttemptRecord a = layer_attempt(sample_case(shared, 1));
    a.outcome = verified_outcome(shared == Shared::slot ? 900 : 1000);
    a.confirm_us = samples_around(shared == Shared::slot ? 930 : 1000);
    a.trials = {{.step = "grouped_stage1",
                 .kernel = "cpu.grouped_stage1.stream",
                 .tile = {{{"rows", 4}}},
                 .ratio = {.median = 0.97, .lo = 0.96, .hi = 0.98, .n = 9},
                 .taken = true}};
    record(s.store, s.study, s.environment, a, a.outcome);
  }
};

}  // namespace

TEST_CASE("the JSON report is what its schema says, whatever the database holds") {
  const json schema = schema_of("report.schema.json");
  const TemporaryFolder folder;
  SyntheticStudy s(folder / "young.db");
  CHECK(broken(schema, report_of(s.store)) == "");  // no study at all
  s.add(sample_case(), true);
  s.store_study();
  CHECK(broken(schema, report_of(s.store)) == "");  // nothing measured
  s.measure(sample_case(), 1234);
  CHECK(broken(schema, report_of(s.store)) == "");
  const Filled filled;
  CHECK(broken(schema, report_of(filled.s.store)) == "");
}

TEST_CASE("a document that is not a report breaks the schema") {
  const json schema = schema_of("report.schema.json");
  const Filled filled;
  const json good = report_of(filled.s.store);
  const auto with = [&](const std::string& pointer, const json& value) {
    json bad = good;
    bad[json::json_pointer(pointer)] = value;
    return broken(schema, bad);
  };
  CHECK(contains(with("/results/3/verdict", "QUICKER"), "verdict"));
  CHECK(contains(with("/results/0/layer_time_us", -1), "layer_time_us"));
  CHECK(contains(with("/steps/0/tile", 8), "tile"));
  CHECK(contains(with("/schema", "other/1"), "schema"));
  json missing = good;
  missing["tiles"][0].erase("status");
  CHECK(contains(broken(schema, missing), "status"));
}

TEST_CASE("every column is described, and every described column is there") {
  const json schema = schema_of("report.schema.json");
  const Filled filled;
  json report = report_of(filled.s.store);
  CHECK(keys_of(report) == keys_of(schema["properties"]));
  for (const auto& [name, table] : schema["properties"].items()) {
    if (table.value("type", json()) != "array") continue;
    CAPTURE(name);
    REQUIRE(!report[name].empty());
    const json& items = table["items"];
    CHECK(keys_of(report[name][0]) == keys_of(items["properties"]));
    CHECK(items["required"].size() == items["properties"].size());
  }
  const Grid csv = result_rows(load_report(filled.s.store));
  CHECK(std::set<std::string>(csv.columns.begin(), csv.columns.end()) ==
        keys_of(schema["properties"]["results"]["items"]["properties"]));
}

TEST_CASE("the JSON report has what a fresh process measured, and the tiles tried for a layer") {
  const Filled filled;
  const json report = report_of(filled.s.store);
  REQUIRE(report["confirmations"].size() == 1);
  const json& c = report["confirmations"][0];
  CHECK(c["confirm_us"].get<double>() == doctest::Approx(930).epsilon(0.01));
  CHECK(c["layer_time_us"].get<double>() == doctest::Approx(900).epsilon(0.01));
  CHECK(c["change_percent"].get<double>() == doctest::Approx(-7));
  CHECK(c["race_change_percent"].get<double>() == doctest::Approx(-10));
  CHECK(c["verdict"] == "FASTER");
  CHECK(c["contradicts"] == 0);
  REQUIRE(report["joint_trials"].size() == 2);  // of both layers
  const json& t = report["joint_trials"][0];
  CHECK(t["tile"] == "rows=4");
  CHECK(t["change_percent"].get<double>() == doctest::Approx(-3));
  CHECK(t["taken"] == 1);
}

TEST_CASE("comparisons as JSON are what their schema says") {
  const json schema = schema_of("comparison.schema.json");
  const Filled filled;
  for (const auto& [a, b] :
       {std::pair{"variant.shared=mlp", "variant.shared=slot"}, std::pair{"tokens=1", "tokens=4"},
        std::pair{"qwen3-next-decode", "qwen3-next-decode"},
        std::pair{"model=none", "model=nothing"}}) {
    CAPTURE(a);
    const Grid grid = compare_selections(filled.s.store, a, filled.s.store, b);
    const json rows = json::parse(to_json(grid));
    CHECK(broken(schema, rows) == "");
    const std::set<std::string> described = keys_of(schema["items"]["properties"]);
    for (const std::string& column : grid.columns) CHECK(described.contains(column));
  }
  json bad = json::parse(
      to_json(compare_selections(filled.s.store, "tokens=1", filled.s.store, "tokens=4")));
  bad[0]["attempt"] = "1";
  CHECK(contains(broken(schema, bad), "attempt"));
}

TEST_CASE("a report's numbers are the database's, with all their digits") {
  const Filled filled;
  const json report = report_of(filled.s.store);
  for (const json& row : report["results"]) {
    if (row["attempt"].is_null()) continue;
    SQLite::Statement q(filled.s.store.database(),
                        "SELECT median_us, rel_frobenius, n FROM attempt WHERE id = ?");
    q.bind(1, row["attempt"].get<int64_t>());
    REQUIRE(q.executeStep());
    CHECK(row["layer_time_us"].get<double>() == q.getColumn(0).getDouble());
    CHECK(row["rel_frobenius"].get<double>() == q.getColumn(1).getDouble());
    CHECK(row["n"].get<int64_t>() == q.getColumn(2).getInt64());
  }
}
