#include <doctest/doctest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "tests/experiments/command.h"

namespace fse::test {
namespace {

namespace fs = std::filesystem;

const fs::path kSample = fs::path(FSELAB_SOURCE_DIR) / "reports/sample";

std::string without_padding(const std::string& cell) {
  const size_t begin = cell.find_first_not_of(' ');
  if (begin == std::string::npos) return "";
  return cell.substr(begin, cell.find_last_not_of(' ') - begin + 1);
}

// What a report consists of, apart from its numbers: its headings, the titles of its tables and
// what their rows are about. Predictions change with the simulator, so of them the titles count
// only.
std::vector<std::string> structure_of(const std::string& markdown) {
  std::vector<std::string> parts;
  bool in_table = false, predicted = false;
  for (const std::string& line : lines_of(markdown)) {
    if (line.starts_with('#')) {
      parts.push_back(line);
      predicted = contains(line, "Prediction");
    }
    const bool row = line.starts_with('|');
    if (row && !in_table) {
      std::string titles;
      std::istringstream cells(line);
      for (std::string cell; std::getline(cells, cell, '|');) titles += "|" + without_padding(cell);
      parts.push_back(titles);
    } else if (row && !predicted && !line.starts_with("|:") && !line.starts_with("|-")) {
      parts.push_back(without_padding(line.substr(1, line.find('|', 1) - 1)));
    }
    in_table = row;
  }
  return parts;
}

TEST_CASE("the sample is what this fselab makes of its database") {
  const TemporaryFolder folder;
  const std::string unpack = "gzip -dc '" + (kSample / "sample.db.gz").string() + "' > '" +
                             (folder / "sample.db").string() + "'";
  REQUIRE(std::system(unpack.c_str()) == 0);
  CHECK(fselab(folder.path(), {"db", "check", "--db", "sample.db"}).exit_code == 0);
  const Result now = fselab(folder.path(), {"report", "--db", "sample.db"});
  CAPTURE(now.err);
  REQUIRE(now.exit_code == 0);
  const std::string committed = read_text(kSample / "report.md");
  CHECK(structure_of(now.out) == structure_of(committed));
  CHECK(lines_of(now.out).at(2) == lines_of(committed).at(2));  // the headline, with its numbers
  CHECK(contains(now.out, "NVIDIA H100"));
  for (const char* part : {"FASTER", "## Where the slot loses", "### Break-even of the slot",
                           "corrected together (Holm)", "A/A floor", "rel_frobenius"}) {
    CAPTURE(part);
    CHECK(contains(now.out, part));
  }
}

TEST_CASE("what is simulated is compared with what was measured") {
  const TemporaryFolder folder;
  const std::string unpack = "gzip -dc '" + (kSample / "sample.db.gz").string() + "' > '" +
                             (folder / "sample.db").string() + "'";
  REQUIRE(std::system(unpack.c_str()) == 0);
  const auto compare = [&](std::vector<std::string> more) {
    std::vector<std::string> all{"report", "--db", "sample.db", "--compare", "simulated"};
    all.insert(all.end(), more.begin(), more.end());
    return fselab(folder.path(), all);
  };
  const Result r = compare({"model=qwen3-next", "--format", "json"});
  CAPTURE(r.err);
  REQUIRE(r.exit_code == 0);
  const auto rows = nlohmann::json::parse(r.out);
  REQUIRE(rows.size() >= 4);
  for (const auto& row : rows) {
    CHECK(row["baseline"] == "simulated");
    CHECK(row["baseline_us"].get<double>() > 0);
    CHECK(row["baseline_attempt"].is_null());
    CHECK(row["p_holm"].is_null());
    CHECK(row["change_percent"].get<double>() ==
          doctest::Approx(
              100 * (row["candidate_us"].get<double>() / row["baseline_us"].get<double>() - 1)));
  }
  const Result text = compare({"model=qwen3-next"});
  CHECK(contains(text.out, "against the baseline simulated"));
  CHECK(contains(text.out, "A/A floor: "));
  CHECK(compare({"model=none"}).exit_code == 0);
  CHECK(compare({"model=qwen3-next", "--against", "sample.db"}).exit_code == 2);
}

TEST_CASE("the sample's picture is one of a whole page") {
  const std::string png = read_text(kSample / "report.png");
  REQUIRE(png.size() > 50'000);
  CHECK(png.substr(1, 3) == "PNG");
  const auto number_at = [&](size_t at) {
    int value = 0;
    for (size_t i = 0; i < 4; ++i) value = 256 * value + static_cast<unsigned char>(png[at + i]);
    return value;
  };
  CHECK(number_at(16) == 1280);
  CHECK(number_at(20) >= 1000);
  for (const auto& entry : fs::directory_iterator(kSample))
    CHECK(fs::file_size(entry.path()) < 1'500'000);
}

}  // namespace
}  // namespace fse::test
