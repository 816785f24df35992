#include <doctest/doctest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "experiments/paths.h"
#include "experiments/sourced_ceilings.h"
#include "tests/experiments/command.h"
#include "tests/reports/synthetic.h"

using namespace fse;
using namespace fse::test;

namespace {

struct Folder {
  TemporaryFolder folder;
  Folder() {
    SyntheticStudy s(folder / "a.db");
    fill_realistic(s);
  }
  Result fselab(std::vector<std::string> arguments) const {
    return fse::test::fselab(folder.path(), std::move(arguments));
  }
  // A comparison of the slot with the MLP: faster at few tokens, slower at 64.
  Result compare(std::vector<std::string> more) const {
    std::vector<std::string> all = {
        "report", "--db", "a.db", "--compare", "variant.shared=mlp", "variant.shared=slot"};
    all.insert(all.end(), more.begin(), more.end());
    return fselab(all);
  }
};

}  // namespace

TEST_CASE("a gate decides the exit code, and JUnit says which pairs broke it") {
  const Folder at;
  CHECK(at.compare({}).exit_code == 0);
  const Result loose = at.compare({"--gate", "layer_time_us<=+50%"});
  CHECK(loose.exit_code == 0);
  CHECK(contains(loose.err, "0 of 23 pairs break it"));
  const Result tight = at.compare({"--gate", "layer_time_us<=+1%", "--junit", "j.xml"});
  CHECK(tight.exit_code == 1);
  CHECK(contains(tight.err, "gate layer_time_us<=+1%: 5 of 23 pairs break it"));
  const std::string xml = read_text(at.folder / "j.xml");
  CHECK(contains(xml, "tests=\"23\" failures=\"5\""));
  CHECK(at.compare({"--junit", "no/such/folder/j.xml"}).exit_code == 3);
  CHECK(at.compare({"--gate", "layer_time_us"}).exit_code == 2);
}

TEST_CASE("a gate over nothing is a mistake, not a pass") {
  const Folder at;
  const Result none = at.fselab({"report", "--db", "a.db", "--compare", "model=a", "model=b",
                                 "--gate", "layer_time_us<=+3%"});
  CHECK(none.exit_code == 2);
  CHECK(contains(none.err, "no measured case in common"));
  CHECK(at.fselab({"report", "--db", "a.db", "--gate", "layer_time_us<=+3%"}).exit_code == 2);
  CHECK(at.fselab({"report", "--db", "a.db", "--junit", "j.xml"}).exit_code == 2);
}

TEST_CASE("every format is written, html only to a file") {
  const Folder at;
  for (const std::string format : {"md", "csv", "json", "html"}) {
    CAPTURE(format);
    const std::string out = "r." + format;
    const Result r = at.fselab({"report", "--db", "a.db", "--format", format, "--out", out});
    CHECK(r.exit_code == 0);
    CHECK(r.out.empty());
    CHECK(read_text(at.folder / out).size() > 1000);
  }
  CHECK(at.fselab({"report", "--db", "a.db", "--format", "html"}).exit_code == 2);
  CHECK(at.compare({"--format", "html", "--out", "c.html"}).exit_code == 2);
  const std::string csv = read_text(at.folder / "r.csv");
  CHECK(lines_of(csv).size() == 1 + 96);
  const auto json = nlohmann::json::parse(read_text(at.folder / "r.json"));
  CHECK(json["results"].size() == 96);
  CHECK(lines_of(at.compare({"--format", "csv"}).out).size() == 1 + 23);
  CHECK(nlohmann::json::parse(at.compare({"--format", "json"}).out).size() == 23);
}

// The exit code of a shell's line in which $F is the command.
int shell(const TemporaryFolder& folder, const std::string& line) {
  const std::string all =
      "cd '" + folder.path().string() + "'; F='" + FSELAB_COMMAND + "'; " + line;
  const int status = std::system(all.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST_CASE("a full disk is told as one") {
  const Folder at;
  CHECK(shell(at.folder, "\"$F\" report --db a.db > /dev/full 2> err") == 3);
  CHECK(read_text(at.folder / "err") ==
        "fselab: standard output cannot be written: No space left on device\n");
  CHECK(at.fselab({"report", "--db", "a.db", "--out", "/dev/full"}).err ==
        "fselab: /dev/full: cannot be written: No space left on device\n");
  CHECK(at.fselab({"report", "--db", "a.db", "--out", "no/such/r.md"}).err ==
        "fselab: no/such/r.md: cannot be written: No such file or directory\n");
  CHECK(at.fselab({"report", "--db", "a.db", "--format", "json", "--out", "r.json"}).exit_code ==
        0);
  for (const auto& entry : std::filesystem::directory_iterator(at.folder.path()))
    CHECK(entry.path().extension() != ".tmp");
}

TEST_CASE("a report beyond the file-size limit leaves the former one") {
  const Folder at;
  const std::string report = "\"$F\" report --db a.db --format html --out r.html 2> err";
  REQUIRE(shell(at.folder, report) == 0);
  const std::string former = read_text(at.folder / "r.html");
  CHECK(shell(at.folder, "ulimit -f 128; " + report) == 3);
  CHECK(read_text(at.folder / "err") == "fselab: r.html: cannot be written: File too large\n");
  CHECK(read_text(at.folder / "r.html") == former);
}

TEST_CASE("a selection can come from another database") {
  const Folder at;
  SyntheticStudy other(at.folder / "b.db");
  fill_realistic(other);
  const Result r = at.fselab({"report", "--db", "a.db", "--against", "b.db", "--compare",
                              "shared=slot", "shared=slot", "--format", "json"});
  REQUIRE(r.exit_code == 0);
  const auto rows = nlohmann::json::parse(r.out);
  REQUIRE(rows.size() == 24);
  for (const auto& row : rows) {
    CHECK(row["compared_by"] == "intervals");
    CHECK(row["change_percent"] == 0);
  }
}

TEST_CASE("a device's ceilings are sourced where a word of its product is a known device") {
  const auto sourced = [](const std::string& kind, const std::string& product) {
    Environment e = sample_environment();
    e.device.kind = kind;
    e.device.product = product;
    return sourced_ceilings(known_models({e, e}, configs_dir()));
  };
  const std::vector<Ceiling> h100 = sourced("hip", "NVIDIA H100 80GB HBM3");
  REQUIRE(h100.size() == 3);
  CHECK(h100[0].kind == "datasheet");
  CHECK(h100[0].value == doctest::Approx(3350).epsilon(0.01));
  CHECK(contains(h100[0].source, "H100 SXM: peak_gbs"));
  CHECK(h100[1].what == "peak_gflops");
  CHECK(sourced("hip", "AMD Instinct MI300X").size() == 3);
  CHECK(sourced("hip", "NVIDIA H1000").empty());
  CHECK(sourced("cpu", "CPU of H100 host").empty());
}
