// experiments/h100.sh as a machine without a GPU can test it: its arguments, the commands it would
// run, and that its sweeps are sweeps.
#include <doctest/doctest.h>

#include <cstdlib>
#include <set>
#include <string>

#include "experiments/sweep.h"
#include "kernels/gpu/layer.h"
#include "tests/experiments/command.h"
#include "tests/experiments/measured_study.h"
#include "tests/temporary_folder.h"

namespace fse {
namespace {

const std::string kScript = FSELAB_SOURCE_DIR "/experiments/h100.sh";

// Its output, and its exit code in front: "0 ...".
std::string script(const test::TemporaryFolder& folder, const std::string& arguments) {
  const std::string out = (folder / "out.txt").string();
  const std::string line = "bash " + kScript + " --fselab " FSELAB_COMMAND " --out " +
                           folder.path().string() + " " + arguments + " >" + out + " 2>&1";
  const int status = std::system(line.c_str());
  return std::to_string(WEXITSTATUS(status)) + " " + test::read_text(out);
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("the H100 script runs what it is asked for") {
  const test::TemporaryFolder folder;
  const std::string all = script(folder, "--dry-run --yardstick ./prototype 'tokens=[1]'");
  CHECK(all.substr(0, 2) == "0 ");
  for (const char* part :
       {"verify", "golden/qwen3_next", "--kernel library --tiles all",
        "run quickstart device=hip:0 tokens=[1]", "run h100-decode", "run h100-shapes",
        "run gpu-verify", "--tool memcheck", "--tool racecheck", "./prototype"}) {
    CAPTURE(part);
    CHECK(has(all, part));
  }
  const std::string some = script(folder, "--dry-run --only timing,shapes");
  CHECK(has(some, "h100-decode"));
  CHECK(has(some, "h100-shapes"));
  CHECK_FALSE(has(some, "verify"));
  CHECK(has(script(folder, "--help"), "--yardstick"));
}

TEST_CASE("the H100 script ends with a table of the best layers that are there") {
  const test::TemporaryFolder folder;
  {
    test::MeasuredStudy study(folder / "timing.db");
    study.add(4, 30, 40);
    study.write();
  }
  const std::string out = script(folder, "--only yardstick --yardstick uname");
  const size_t table = out.find("slot_us");
  REQUIRE(table != std::string::npos);
  CHECK(out.find("Linux") < table);
  CAPTURE(out);
  CHECK(has(out.substr(table), "4 |   30.09 |       40.12 |"));
}

TEST_CASE("the H100 script refuses what it does not know") {
  const test::TemporaryFolder folder;
  for (const char* arguments :
       {"--only timings", "--sweep x", "--seconds soon", "--only", "stray"}) {
    CAPTURE(arguments);
    CHECK(script(folder, arguments).substr(0, 10) == "2 h100.sh:");
  }
}

TEST_CASE("the sweeps of the H100 script run on an H100") {
  const std::filesystem::path configs = std::filesystem::path(FSELAB_SOURCE_DIR) / "configs";
  const DeviceInfo h100 = typical_gpu("sm_90");
  for (const char* name : {"gpu-verify", "h100-decode", "h100-shapes"}) {
    CAPTURE(name);
    const SweepSpec spec = read_sweep(find_sweep(name, configs), {});
    const Expansion all = expand(spec, h100, configs);
    std::set<std::string> running;  // models
    bool fused = false;
    for (const CaseRecord& record : all.cases) {
      if (record.state != CaseState::pending) continue;
      running.insert(record.spec.layer.model);
      fused |= record.spec.variant.experts == Experts::fused;
    }
    CHECK(running.size() == spec.models.size());
    CHECK(fused);
  }
}

}  // namespace
}  // namespace fse
