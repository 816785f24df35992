#include <doctest/doctest.h>

#include "tests/experiments/command.h"
#include "tests/temporary_folder.h"
#include "tuner/recorded_step.h"

namespace fse::test {
namespace {

// A layer that takes microseconds, on the cpu.
struct Sweep {
  TemporaryFolder folder;
  Sweep() {
    write_text(folder / "config.json", kTinyConfig);
    write_text(folder / "tiny.yaml",
               "study: tiny\nmodels: ./config.json\ntokens: 2\ndevice: cpu\n"
               "variants: {gate: fused, topk: unfused, shared: slot}\nbaseline: {shared: slot}\n"
               "measure: {cache: warm, min_rounds: 6}\n");
  }
  Result record(std::vector<std::string> more) const {
    std::vector<std::string> arguments{"record", "tiny.yaml", "--out", "spaces"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return fselab(folder.path(), arguments);
  }
  std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> all;
    for (const auto& entry : std::filesystem::directory_iterator(folder / "spaces"))
      all.push_back(entry.path());
    return all;
  }
};

}  // namespace

TEST_CASE("record writes the named steps only, samples by --tiles, and goes on to all of them") {
  const Sweep sweep;
  const Result few = sweep.record({"--steps", "fused_gate", "--tiles", "3"});
  CAPTURE(few.err);
  CHECK(few.exit_code == 0);
  REQUIRE(sweep.files().size() == 1);
  const RecordedStep sample = read_recorded_step(sweep.files()[0]);
  CHECK(sample.step == "fused_gate");
  CHECK(sample.tiles.size() == 3);
  REQUIRE(sample.legal > 3);

  const Result all = sweep.record({"--steps", "fused_gate,select"});
  CHECK(all.exit_code == 0);
  CHECK(sweep.files().size() == 2);
  const std::filesystem::path gate =
      sweep.files()[sweep.files()[0].string().find("fused_gate") == std::string::npos];
  const RecordedStep whole = read_recorded_step(gate);
  CHECK(whole.legal == sample.legal);
  CHECK(static_cast<int>(whole.tiles.size()) == sample.legal);
  CHECK(whole.tiles[0].outcome.samples_us == sample.tiles[0].outcome.samples_us);  // not again

  const Result nothing_left = sweep.record({"--steps", "fused_gate,select"});
  CHECK(nothing_left.exit_code == 0);
  CHECK(nothing_left.out.empty());
}

TEST_CASE(
    "record that runs out of time says so with exit code 4, and one that is mistyped with 2") {
  const Sweep sweep;
  const Result late = sweep.record({"--total", "0.000001"});
  CHECK(late.exit_code == 4);
  CHECK(late.err.find("not recorded in whole; the same command goes on") != std::string::npos);
  const Result mistyped = sweep.record({"--steps", "fused_gat"});
  CHECK(mistyped.exit_code == 2);
  CHECK(mistyped.err.find("no case has a step 'fused_gat' (did you mean 'fused_gate'?)") !=
        std::string::npos);
}

}  // namespace fse::test
