#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "tests/experiments/command.h"

namespace fse::test {
namespace {

const std::string kTable = std::string(FSELAB_SOURCE_DIR) +
                           "/configs/validation/aiter_a8w8_blockscale_tuned_fmoe_ds_v3.csv";

}  // namespace

TEST_CASE("every row of a table is predicted; what another device did is not counted") {
  const TemporaryFolder folder;
  const Result r =
      fselab(folder.path(), {"simulate", "--table", kTable, "device=mi355x", "--format", "json"});
  CAPTURE(r.err);
  REQUIRE(r.exit_code == 0);
  int rows = 0, counted = 0;
  for (const std::string& line : lines_of(r.out)) {
    const auto row = nlohmann::json::parse(line);
    ++rows;
    counted += row.at("aside").get<std::string>().empty();
    CHECK(row.at("predicted_us").get<double>() > 0);
    CHECK(row.at("low_us").get<double>() < row.at("predicted_us").get<double>());
  }
  CHECK(rows == 395);
  CHECK(counted == 25);
  const Result text = fselab(folder.path(), {"simulate", "--table", kTable, "device=mi355x"});
  CHECK(lines_of(text.out).back().starts_with("25 of 395 rows counted: mean error "));
}

TEST_CASE("a table needs a device and is a table") {
  const TemporaryFolder folder;
  write_text(folder / "t.csv", "a,b\n1,2\n");
  const auto error = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "simulate");
    const Result r = fselab(folder.path(), arguments);
    CHECK(r.exit_code != 0);
    return r.err;
  };
  CHECK(error({"--table", kTable}).find("expected device=NAME") != std::string::npos);
  CHECK(error({"--table", kTable, "tokens=[1]"}).find("device=NAME alone") != std::string::npos);
  CHECK(error({"--table", kTable, "device=mi3"}).find("has no model") != std::string::npos);
  CHECK(error({"--table", "t.csv", "device=mi355x"}).find("t.csv") != std::string::npos);
  CHECK(error({"--table", "none.csv", "device=mi355x"}).find("none.csv") != std::string::npos);
  CHECK(error({}).find("expected a sweep") != std::string::npos);
  CHECK(error({"device=mi355x"}).find("before KEY=VALUE") != std::string::npos);
}

}  // namespace fse::test
