#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "experiments/certificate.h"
#include "tests/experiments/command.h"

namespace fse::test {
namespace {

// A study on an emulated GPU, whose library multiplies on the host, with times made from kernels
// and tiles: mlp_stage1's library takes ten times its own in the finals.
struct Raced {
  TemporaryFolder folder;
  Raced() {
    write_text(folder / "config.json", kTinyConfig);
    write_text(folder / "tiny.yaml",
               "study: tiny\nmodels: ./config.json\ntokens: 2\ndtypes: bf16\n"
               "device: 'fault:emu:sm_90?times=made&slow=finals@library+mlp_stage1'\n"
               "variants: {gate: fused, topk: fused, shared: mlp, experts: staged, "
               "launch: stream}\nbaseline: {shared: mlp}\ntune: {strategy: random, budget: 1}\n"
               "measure: {cache: warm, min_rounds: 6, interval: 50%}\n");
    const Result run = fselab({"run", "tiny.yaml", "--db", "r.db"});
    CAPTURE(run.err);
    REQUIRE(run.exit_code == 0);
  }
  Result fselab(std::vector<std::string> words) const {
    return fse::test::fselab(folder.path(), std::move(words));
  }
};

const CertifiedStep& step_of(const Certificate& c, const std::string& name) {
  for (const CertifiedStep& s : c.steps)
    if (s.step == name) return s;
  throw std::logic_error("no step " + name);
}

}  // namespace

TEST_CASE("a vendor's library competes in a run, and the certificate says what it took") {
  const Raced at;
  const Result wrote = at.fselab({"db", "export", "w.json", "--certificate", "--db", "r.db"});
  CAPTURE(wrote.err);
  REQUIRE(wrote.exit_code == 0);
  const Certificate c = read_certificate(read_text(at.folder / "w.json"), "w.json");
  CHECK(contains(c.library, "compared with in the finals of 3 of 9 steps"));
  const CertifiedStep& slow = step_of(c, "mlp_stage1");
  CHECK(slow.kernel == "hip.mlp_stage1.stream");
  CHECK(slow.rival == "hip.mlp_stage1.library");
  REQUIRE(slow.over_rival);
  CHECK(slow.over_rival->hi < 0.5);
  CHECK(slow.rival_verdict == Verdict::faster);
  CHECK(step_of(c, "mlp_stage2").rival);
  CHECK_FALSE(step_of(c, "combine").rival);
  const auto attempt = std::to_string(c.attempt);
  const Result steps = at.fselab({"db", "steps", attempt, "--json", "--db", "r.db"});
  const auto rows = nlohmann::json::parse(steps.out);
  REQUIRE(rows.size() == c.steps.size());
  for (size_t i = 0; i < rows.size(); ++i)
    CHECK(rows[i].at("rival").is_null() == !c.steps[i].rival);
  CHECK(contains(at.fselab({"report", "--db", "r.db"}).out, "The vendor's library and fselab's"));
  // The winner once more, with the library in the step that it lost.
  const Result again = at.fselab({"verify", "--certificate", "w.json"});
  CAPTURE(again.err);
  CHECK(contains(again.out, "vendor's library"));
}

}  // namespace fse::test
