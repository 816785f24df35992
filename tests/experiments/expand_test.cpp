#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "core/error.h"
#include "experiments/sweep.h"
#include "kernels/gpu/layer.h"
#include "tests/core/store_fixture.h"
#include "tests/core/trace_fixture.h"

namespace fse {
namespace {

const std::filesystem::path kConfigs = std::filesystem::path(FSELAB_SOURCE_DIR) / "configs";

DeviceInfo cpu() {
  return {.name = "cpu",
          .kind = "cpu",
          .compute_units = 2,
          .memory_bytes = int64_t{16} << 30,
          .llc_bytes = int64_t{32} << 20,
          .dtypes = {DType::f32, DType::bf16, DType::fp8_block128}};
}

Expansion expand_text(const std::string& yaml, const DeviceInfo& device = cpu()) {
  return expand(parse_sweep(yaml, "q.yaml", {}), device, kConfigs);
}

std::string sweep(const std::string& models, const std::string& rest = "") {
  return "study: s\nmodels: [" + models + "]\ntokens: [1, 4]\n" + rest;
}

int count(const Expansion& expansion, CaseState state) {
  return static_cast<int>(
      std::count_if(expansion.cases.begin(), expansion.cases.end(),
                    [&](const CaseRecord& record) { return record.state == state; }));
}

std::vector<std::string> baselines(const Expansion& expansion) {
  std::vector<std::string> labels;
  for (const CaseRecord& record : expansion.cases)
    if (record.baseline) labels.push_back(to_label(record.spec.variant));
  return labels;
}

TEST_CASE("Qwen3-Next runs all twelve staged variants") {
  const Expansion e = expand_text(sweep("qwen3-next-80b-a3b"));
  CHECK(count(e, CaseState::pending) == 24);
  CHECK(count(e, CaseState::refused) == 0);
  CHECK(baselines(e) == std::vector<std::string>(2, "separate/unfused/mlp/staged/stream"));
  CHECK(e.cases.front().baseline);
  CHECK(e.cases.front().spec.layer.model == "qwen3-next-80b-a3b");
  CHECK(e.cases.front().spec.tokens == 1);
  CHECK(e.cases.back().spec.tokens == 4);
  CHECK(to_label(e.cases.back().spec.variant) == "fused/fused/slot/staged/stream");
}

TEST_CASE("without a shared expert the shared axis is one value, in the baseline too") {
  const Expansion e = expand_text(sweep("qwen3-30b-a3b"));
  CHECK(e.cases.size() == 8);  // gate x topk, twice
  CHECK(count(e, CaseState::pending) == 4);
  for (const CaseRecord& record : e.cases) {
    CHECK(record.spec.variant.shared == Shared::none);
    if (record.spec.variant.gate == Gate::fused) {
      CHECK(record.state == CaseState::refused);
      CHECK(record.reason == "gate=fused: the layer has no shared gate to fuse");
    }
  }
  CHECK(baselines(e) == std::vector<std::string>(2, "separate/unfused/none/staged/stream"));
}

TEST_CASE("fp8 on a GPU without it is refused, or runs as bf16 where the sweep says so") {
  const DeviceInfo mi250 = typical_gpu("gfx90a");
  const std::string fp8 = "dtypes: [bf16, fp8_block128]\nactivations: [bf16, fp8]\n";
  const std::string bf16_only = "variants: {gate: fused, topk: fused, shared: slot}\n";
  const Expansion refused = expand_text(sweep("qwen3-next-80b-a3b", fp8 + bf16_only), mi250);
  int fp8_cases = 0;
  for (const CaseRecord& record : refused.cases) {
    if (record.spec.layer.dtype != DType::fp8_block128) continue;
    ++fp8_cases;
    CHECK(record.state == CaseState::refused);
    CHECK(record.reason.find("the matrix units of gfx90a have no fp8; without_fp8: bf16") !=
          std::string::npos);
  }
  CHECK(fp8_cases > 0);
  const Expansion all =
      expand_text(sweep("qwen3-next-80b-a3b", fp8 + bf16_only + "without_fp8: bf16\n"), mi250);
  for (const CaseRecord& record : all.cases) CHECK(record.spec.layer.dtype == DType::bf16);
  CHECK(all.notes ==
        std::vector<std::string>{"note: gfx90a has no fp8: fp8_block128 runs as bf16"});
  const Expansion bf16 = expand_text(sweep("qwen3-next-80b-a3b", bf16_only), mi250);
  CHECK(count(all, CaseState::pending) == count(bf16, CaseState::pending));  // each once
}

TEST_CASE("a shared expert that is asked for and not there is told") {
  const Expansion e = expand_text(sweep("qwen3-30b-a3b", "variants: {shared: slot}\n"));
  REQUIRE(e.notes.size() == 1);
  CHECK(e.notes[0].starts_with("note: qwen3-30b-a3b has no shared expert: "));
  CHECK(expand_text(sweep("qwen3-30b-a3b")).notes.empty());  // nobody asked
  CHECK(expand_text(sweep("glm-4.7", "variants: {shared: slot}\n")).notes.empty());
}

TEST_CASE("a format that is not the published checkpoint's is told where it is asked for") {
  const Expansion e = expand_text(sweep("glm-4.7", "dtypes: [bf16, fp8_block128]\n"));
  CHECK(e.notes == std::vector<std::string>{"note: glm-4.7: fp8_block128 is fselab's format here, "
                                            "the published checkpoint has one scale per channel"});
  CHECK(expand_text(sweep("glm-4.7", "dtypes: [bf16]\n")).notes.empty());
}

TEST_CASE("each reason of a refused sweep is told once") {
  try {
    expand_text(sweep("qwen3-30b-a3b, glm-4.7",
                      "variants: {gate: fused, launch: [stream, graph], topk: fused}\n"));
    FAIL("nothing is legal");
  } catch (const Refused& refused) {
    const std::string what = refused.what();
    CAPTURE(what);
    const size_t first = what.find("launch=graph: ");
    CHECK(first != std::string::npos);
    CHECK(what.find("launch=graph: ", first + 1) == std::string::npos);
  }
}

TEST_CASE("without a shared gate the fused gate is refused, the rest runs") {
  const Expansion e = expand_text(sweep("{name: glm-4.7, tp: [4]}", "tp: [1, 2]\n"));
  CHECK(e.cases.size() == 24);  // the model's own tp, not the sweep's
  CHECK(count(e, CaseState::pending) == 12);
  CHECK(std::all_of(e.cases.begin(), e.cases.end(),
                    [](const CaseRecord& record) { return record.spec.tp == 4; }));
}

TEST_CASE("a degree that does not divide the experts is refused with its reason") {
  const Expansion e = expand_text(sweep("qwen3-next-80b-a3b", "tp: [1, 3]\n"));
  CHECK(count(e, CaseState::pending) == 24);
  CHECK(count(e, CaseState::refused) == 24);
  for (const CaseRecord& record : e.cases)
    if (record.state == CaseState::refused) {
      CHECK(record.spec.tp == 3);
      CHECK(record.reason.find("tp") != std::string::npos);
      CHECK(!record.reason.starts_with("refused"));
    }
}

TEST_CASE("launch left out is resolved by the device, and recorded") {
  DeviceInfo gpu = cpu();
  gpu.graph = true;
  const Expansion e = expand_text(sweep("qwen3-next-80b-a3b"), gpu);
  CHECK(e.cases.front().spec.variant.launch == Launch::graph);
  const Expansion both =
      expand_text(sweep("qwen3-next-80b-a3b", "variants: {launch: [stream, graph]}\n"), gpu);
  CHECK(count(both, CaseState::pending) == 48);
  // The baseline names no launch: each is compared with its own.
  const std::vector<std::string> labels = baselines(both);
  CHECK(std::set<std::string>(labels.begin(), labels.end()) ==
        std::set<std::string>{"separate/unfused/mlp/staged/stream",
                              "separate/unfused/mlp/staged/graph"});
}

TEST_CASE("a baseline that is not listed is added, for legal variants only") {
  const Expansion added = expand_text(
      sweep("qwen3-next-80b-a3b", "variants: {gate: fused, topk: fused, shared: slot}\n"));
  CHECK(added.cases.size() == 4);
  CHECK(added.cases[0].baseline);
  CHECK(to_label(added.cases[1].spec.variant) == "fused/fused/slot/staged/stream");
  const Expansion partial = expand_text(sweep(
      "qwen3-next-80b-a3b", "variants: {gate: fused, topk: fused}\nbaseline: {shared: mlp}\n"));
  CHECK(baselines(partial) == std::vector<std::string>(2, "fused/fused/mlp/staged/stream"));
  CHECK_THROWS_WITH_AS(expand_text(sweep("glm-4.7", "variants: {gate: fused, shared: slot}\n")),
                       "refused: nothing in sweep s can run on cpu: gate=fused: the layer has no "
                       "shared gate to fuse",
                       Refused);
}

TEST_CASE("duplicates collapse: values, and models that are the same layer") {
  const Expansion once = expand_text(sweep("qwen3-next-80b-a3b"));
  CHECK(
      expand_text(sweep("qwen3-next-80b-a3b", "seeds: [1, 1]\ndtypes: [bf16, bf16]\n")).plan_hash ==
      once.plan_hash);
  const Expansion twice =
      expand_text(sweep("qwen3-next-80b-a3b, {name: qwen3-next-80b-a3b, tp: 1}"));
  CHECK(twice.cases.size() == once.cases.size());
  REQUIRE(twice.notes.size() == 1);
  CHECK(twice.notes[0].find("same layer") != std::string::npos);
  std::set<std::string> ids;
  for (const CaseRecord& record : once.cases) CHECK(ids.insert(case_id(record.spec)).second);
}

TEST_CASE("the plan's hash changes with what is done, not with how it is written") {
  const std::string base = sweep("qwen3-next-80b-a3b");
  const std::string hash = expand_text(base).plan_hash;
  CHECK(hash.size() == 16);
  CHECK(expand_text("# comment\n" + base).plan_hash == hash);
  CHECK(expand_text(sweep("qwen3-next-80b-a3b", "tp: 1\nseeds: 1\nmeasure: {min_rounds: 25}\n"))
            .plan_hash == hash);
  for (const char* change :
       {"seeds: [2]\n", "routing: zipf(1)\n", "measure: {min_rounds: 26}\n",
        "measure: {cache: warm}\n", "measure: {interval: 3%}\n", "tune: {budget: 61s}\n",
        "tune: {strategy: random}\n", "baseline: {shared: slot}\n", "variants: {shared: slot}\n"}) {
    CAPTURE(change);
    CHECK(expand_text(sweep("qwen3-next-80b-a3b", change)).plan_hash != hash);
  }
}

TEST_CASE("a model that is not there or not implemented says so") {
  CHECK_THROWS_WITH_AS(expand_text(sweep("qwen3-nxt-80b-a3b")),
                       doctest::Contains("q.yaml:2:10: models: "), Error);
  CHECK_THROWS_WITH_AS(expand_text(sweep("./nowhere/config.json")),
                       doctest::Contains("nowhere/config.json"), Error);
}

TEST_CASE("a refused model is a note, told once, and changes nothing else") {
  const test::TemporaryFolder folder;
  std::ofstream(folder / "config.json") << R"({"model_type": "deepseek_v4", "hidden_size": 64,
    "moe_intermediate_size": 32, "n_routed_experts": 8, "num_experts_per_tok": 2,
    "scoring_func": "sqrtsoftplus", "num_hidden_layers": 1})";
  const std::string file = (folder / "config.json").string();
  const Expansion both =
      expand_text(sweep(file + ", qwen3-next-80b-a3b, {name: " + file + ", tp: 2}"));
  CHECK(both.plan_hash == expand_text(sweep("qwen3-next-80b-a3b")).plan_hash);
  REQUIRE(both.notes.size() == 1);
  CHECK(both.notes[0].starts_with("refused: " + file + ": scoring_func: "));
  try {
    expand_text(sweep(file + ", glm-4.7", "variants: {gate: fused}\n"));
    FAIL("nothing is legal");
  } catch (const Refused& refused) {
    const std::string what = refused.what();
    CAPTURE(what);
    CHECK(what.starts_with("refused: nothing in sweep s can run on cpu: " + file));
    CHECK(what.ends_with("; gate=fused: the layer has no shared gate to fuse"));
  }
}

TEST_CASE("every row of a trace is judged by the layer it is for") {
  const test::TemporaryFolder folder;
  const auto file = folder / "t.safetensors";
  const auto expand_trace = [&](const std::string& model) {
    return expand_text(
        sweep(model, "dtypes: [bf16, f32]\nrouting: [uniform, {trace: " + file.string() + "}]\n"));
  };
  const auto reason = [](const Expansion& e) {
    std::set<std::string> reasons;
    for (const CaseRecord& record : e.cases) {
      const bool trace = record.spec.routing.kind == RoutingKind::trace;
      if (!trace) CHECK(record.reason.find("routing=trace") == std::string::npos);
      const size_t at = record.reason.find("routing=trace: ");
      if (trace) reasons.insert(at == std::string::npos ? "" : record.reason.substr(at));
    }
    REQUIRE(reasons.size() == 1);
    return *reasons.begin();
  };
  // DeepSeek-V3: 8 experts of 256, in at most 4 of 8 groups of 32.
  const std::vector<int64_t> good{0, 1, 32, 33, 64, 65, 96, 97};
  test::write_trace(file, {good, good});
  CHECK(reason(expand_trace("deepseek-v3")).empty());
  std::vector<int64_t> bad = good;
  bad[7] = 128;
  test::write_trace(file, {good, bad});
  CHECK(reason(expand_trace("deepseek-v3")) ==
        "routing=trace: " + file.string() +
            ": topk_ids row 1 column 7 is 128, expected one of the 4 groups of 32 experts that "
            "its row has already");
  bad[7] = 0;
  test::write_trace(file, {good, good, bad});
  CHECK(reason(expand_trace("deepseek-v3")).find("topk_ids row 2 column 7 is 0, ") !=
        std::string::npos);
  CHECK(reason(expand_trace("qwen3-next-80b-a3b"))
            .ends_with(": topk_ids has shape [3, 8], expected [rows, top_k = 10]"));
  std::ofstream(file) << "damaged";
  CHECK_THROWS_AS(expand_trace("deepseek-v3"), Error);
}

TEST_CASE("restrictions that restrict nothing are errors") {
  const auto tiles = [](const std::string& text) {
    return expand_text(sweep("qwen3-next-80b-a3b", "tiles: {" + text + "}\n"));
  };
  CHECK_THROWS_WITH_AS(tiles("grouped_stage1: {no_such_axis: [1]}"),
                       doctest::Contains("q.yaml:4:26: tiles: grouped_stage1 on cpu has no axis "
                                         "'no_such_axis', expected one of "),
                       Error);
  CHECK_THROWS_WITH_AS(tiles("cpu.no.such: {rows: [1]}"),
                       doctest::Contains("tiles: cpu has no kernel 'cpu.no.such'"), Error);
}

TEST_CASE("the restriction that the quickstart shows is one the cpu has") {
  std::ifstream file(kConfigs / "sweeps/quickstart.yaml");
  std::string example;
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("# tiles: ")) example = line.substr(2) + "\n";
  REQUIRE(!example.empty());
  CHECK(!expand_text(sweep("qwen3-next-80b-a3b", example)).cases.empty());
}

TEST_CASE("the quickstart expands to both models at every token count") {
  const Expansion e = expand(read_sweep(kConfigs / "sweeps/quickstart.yaml", {}), cpu(), kConfigs);
  std::set<std::pair<std::string, int>> seen;
  for (const CaseRecord& record : e.cases)
    if (record.state == CaseState::pending)
      seen.insert({record.spec.layer.model, record.spec.tokens});
  CHECK(seen.size() == 6);
}

}  // namespace
}  // namespace fse
