#include "experiments/sweep.h"

#include <doctest/doctest.h>

#include <fstream>

#include "core/error.h"
#include "tests/temporary_folder.h"

namespace fse {
namespace {

const std::string kHead = "study: s\nmodels: [m]\ntokens: [1]\n";

SweepSpec parse(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  return parse_sweep(yaml, "q.yaml", overrides);
}

std::string error_of(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  try {
    parse(yaml, overrides);
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::usage);
    return error.what();
  }
  return "no error";
}

TEST_CASE("keys left out have the documented defaults") {
  const SweepSpec spec = parse(kHead);
  CHECK(spec.study == "s");
  CHECK(spec.models.size() == 1);
  CHECK(spec.models[0].path.empty());
  CHECK(spec.device == "auto");
  CHECK(spec.dtypes == std::vector{DType::bf16});
  CHECK(spec.activations == std::vector{Activations::bf16});
  CHECK(spec.tp == std::vector{1});
  CHECK(spec.routing == std::vector{RoutingDistribution{}});
  CHECK(spec.seeds == std::vector<uint64_t>{1});
  CHECK(spec.variants.shared == std::vector{Shared::mlp, Shared::mlp_overlapped, Shared::slot});
  CHECK(spec.variants.experts == std::vector{Experts::staged});
  CHECK(spec.variants.launch.empty());
  CHECK(spec.baseline.shared == Shared::mlp);
  CHECK(!spec.baseline.launch);
  CHECK(spec.tune.strategy == Strategy::automatic);
  CHECK(spec.tune.seconds == 60.0);
  CHECK(spec.measure.min_rounds == 25);
  CHECK(spec.yaml_text == kHead);
}

TEST_CASE("every key of the documented sweep is read") {
  const SweepSpec spec = parse(R"(
study: qwen3-next-decode
models: [qwen3-next-80b-a3b, ./my/config.json, {name: glm-4.7, tp: [4], dtypes: f32}]
device: cpu
dtypes: [bf16, fp8_block128]
activations: [bf16, fp8]
tokens: [1, pow2(4, 16), range(8, 24, 8), 64]
tp: 2
routing: [uniform, zipf(1.2), dirichlet(0.3)]
seeds: [1, 7]
variants:
  gate: [separate]
  topk: [unfused, fused]
  shared: slot
  experts: [staged, fused]
  launch: [stream, graph]
baseline: {gate: separate, launch: stream}
tune: {strategy: random, budget: 10%}
tiles: {grouped_stage1: {warps: [8, 16]}, cpu.topk.fused: {rows: 4}}
measure: {cache: warm, min_rounds: 50, interval: 1.5%}
)");
  CHECK(spec.models[1].path == std::filesystem::absolute("my/config.json"));
  CHECK(spec.models[2].tp == std::vector{4});
  CHECK(spec.models[2].dtypes == std::vector{DType::f32});
  CHECK(spec.tokens == std::vector{1, 4, 8, 16, 24, 64});
  CHECK(spec.tp == std::vector{2});
  CHECK(spec.routing[1].parameter == 1.2);
  CHECK(spec.routing[2].kind == RoutingKind::dirichlet);
  CHECK(spec.seeds == std::vector<uint64_t>{1, 7});
  CHECK(spec.variants.shared == std::vector{Shared::slot});
  CHECK(spec.variants.launch == std::vector{Launch::stream, Launch::graph});
  CHECK(!spec.baseline.topk);
  CHECK(spec.baseline.launch == Launch::stream);
  CHECK(spec.tune.fraction == doctest::Approx(0.1));
  CHECK(!spec.tune.seconds);
  REQUIRE(spec.tune.tiles.size() == 2);
  CHECK(spec.tune.tiles[0].values == std::vector{8, 16});
  CHECK(spec.tune.tiles[1].target == "cpu.topk.fused");
  CHECK(spec.measure.cache == Cache::warm);
  CHECK(spec.measure.interval == doctest::Approx(0.015));
}

TEST_CASE("budgets") {
  const auto tune = [](const std::string& budget) {
    return parse(kHead + "tune: {budget: " + budget + "}\n").tune;
  };
  CHECK(tune("90s").seconds == 90.0);
  CHECK(tune("2m").seconds == 120.0);
  CHECK(tune("0.5s").seconds == 0.5);
  CHECK(tune("200").evaluations == 200);
  CHECK(!tune("none").seconds);
  CHECK(!tune("none").evaluations);
  CHECK(tune("no_gain(50)").no_gain == 50);
  CHECK(!tune("no_gain(50)").seconds);
  const TuneSpec all = tune("[30s, 200, 10%, no_gain(20)]");
  CHECK(all.seconds == 30.0);
  CHECK(all.evaluations == 200);
  CHECK(all.fraction == doctest::Approx(0.1));
  CHECK(all.no_gain == 20);
  for (const char* bad : {"0", "-1s", "101%", "5h", "s", "1e9m", "~", "[]", "nans", "x%",
                          "[60s, 1m]", "[none, 5]", "[5, 6]", "no_gain(0)", "no_gain(x)",
                          "no_gain(", "no_gain(5", "[no_gain(5), no_gain(6)]"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(tune(bad), Error);
  }
}

TEST_CASE("errors say where, what and what was expected") {
  struct Mistake {
    std::string yaml, error;
  };
  const std::string ints =
      "whole numbers, pow2(first, last) or range(first, last, step), from 1 to ";
  const std::string calls =
      "pow2(first, last) of powers of two or range(first, last, step), first <= last, from 1 to ";
  const std::vector<Mistake> mistakes{
      {"study: s\nmodels: [m]\ntokns: [1]\n",
       "q.yaml:3:1: unknown key 'tokns' in the sweep, expected one of study, models, device, "
       "dtypes, activations, tokens, tp, routing, seeds, variants, baseline, tune, tiles, measure, "
       "serving, without_fp8 (did you mean 'tokens'?)"},
      {kHead + "tokens: [2]\n",
       "q.yaml:4:1: key 'tokens' is given twice, first at q.yaml:3:1, expected once"},
      {kHead + "variants: {gate: fused,\n  gate: separate}\n",
       "q.yaml:5:3: key 'gate' is given twice, first at q.yaml:4:12, expected once"},
      {"study: s\nmodels: [m]\ntokens: [1, four]\n",
       "q.yaml:3:13: tokens is 'four', expected " + ints + "1048576"},
      {"study: s\nmodels: [m]\ntokens: [\"4\"]\n",
       "q.yaml:3:10: tokens is the text \"4\", expected " + ints + "1048576"},
      {"study: s\nmodels: [m]\ntokens: [0]\n",
       "q.yaml:3:10: tokens is '0', expected a whole number from 1 to 1048576"},
      {"study: s\nmodels: [m]\ntokens: [pow2(1, 5)]\n",
       "q.yaml:3:10: tokens is 'pow2(1, 5)', expected " + calls + "1048576"},
      {"study: s\nmodels: [m]\ntokens: range(8, 4, 1)\n",
       "q.yaml:3:9: tokens is 'range(8, 4, 1)', expected " + calls + "1048576"},
      {"study: s\nmodels: [m]\ntokens: []\n",
       "q.yaml:3:9: tokens is an empty list, expected at least one value"},
      {"study: s\nmodels: [m]\ntokens: {a: 1}\n",
       "q.yaml:3:9: tokens is a map, expected " + ints + "1048576"},
      {kHead + "tp:\n", "q.yaml:4:1: tp is empty, expected a value or a list of values"},
      {kHead + "dtypes: [bf61]\n",
       "q.yaml:4:10: dtypes is 'bf61', expected one of f32, bf16, f16, fp8_block128 (did you mean "
       "'bf16'?)"},
      {kHead + "tune: {strategy: no}\n",
       "q.yaml:4:18: tune.strategy is 'no', expected one of auto, exhaustive, random, "
       "local, evolutionary, none"},
      {kHead + "tune: {budget: 5h}\n",
       "q.yaml:4:16: tune.budget is '5h', expected seconds (60s), minutes (2m), evaluations (200), "
       "a share of the tiles (10%), no_gain(50), none, or a list of these with none of a kind "
       "twice"},
      {kHead + "measure: {min_rounds: 3}\n",
       "q.yaml:4:23: measure.min_rounds is '3', expected a whole number from 6 to 100000"},
      {kHead + "measure: {interval: 0.02}\n",
       "q.yaml:4:21: measure.interval is '0.02', expected a percentage from 0.1% to 50%"},
      {kHead + "routing: [zipf(0)]\n",
       "q.yaml:4:11: routing is 'zipf(0)', expected uniform, zipf(s) with 0 < s <= 10, "
       "dirichlet(a) with 0.001 <= a <= 1000, or trace: FILE (did you mean 'zipf'?)"},
      {kHead + "tiles: {grouped_stage: {rows: [1]}}\n",
       "q.yaml:4:9: 'grouped_stage' in tiles is no op, expected one of gate_gemm, score, select, "
       "renormalize, shared_activation, slot_append, topk, dispatch, grouped_stage1, "
       "grouped_stage2, combine, mlp_stage1, mlp_stage2, shared_add, layer, or a kernel's name "
       "(did you "
       "mean 'grouped_stage1'?)"},
      {kHead + "baseline: {}\n",
       "q.yaml:4:11: baseline is an empty map, expected a map with keys from gate, topk, shared, "
       "experts, launch"},
      {kHead + "device: gpu\n",
       "q.yaml:4:9: device is 'gpu', expected auto, cpu, hip:0, replay:FOLDER, "
       "emu:gfx942 or sim:mi355x"},
      {"study: yes\nmodels: [m]\ntokens: [1]\n",
       "q.yaml:1:8: study is 'yes', expected a name of up to 100 letters, digits, '.', '_' and "
       "'-', in quotes where YAML takes it for a boolean"},
      {"study: a b\nmodels: [m]\ntokens: [1]\n",
       "q.yaml:1:8: study is 'a b', expected a name of up to 100 letters, digits, '.', '_' and "
       "'-'"},
      {"study: s\ntokens: [1]\n", "q.yaml:1:1: no key 'models', expected it in every sweep"},
      {"study: s\nmodels: [{tp: [4]}]\ntokens: [1]\n",
       "q.yaml:2:10: models is a map, expected a preset's name, a config.json, or {name: NAME, tp: "
       "[4]}"},
      {"",
       "q.yaml:1:1: the sweep is empty, expected a map with keys from study, models, device, "
       "dtypes, activations, tokens, tp, routing, seeds, variants, baseline, tune, tiles, measure, "
       "serving, without_fp8"},
      {"study: &a s\nmodels: [m]\ntokens: [1]\n",
       "q.yaml:1:8: an anchor (&name), expected a plain value: a sweep uses no anchors"},
      {"study: !!str s\nmodels: [m]\ntokens: [1]\n",
       "q.yaml:1:8: a tag (tag:yaml.org,2002:str), expected a plain value: a sweep uses no tags"},
      {kHead + "---\nstudy: t\n", "q.yaml:4:1: a second document begins here, expected one"},
      {"study: s\nmodels: [m\ntokens: [1]\n",
       "q.yaml:3:7: end of sequence flow not found, "
       "expected valid YAML"},
      {"study: s\nmodels: [\xff]\n", "q.yaml:2:10: byte 0xff is not UTF-8, expected text"},
      {std::string("study: s\0\n", 10), "q.yaml:1:9: control character 0x00, expected text"},
  };
  for (const Mistake& mistake : mistakes) {
    CAPTURE(mistake.yaml);
    CHECK(error_of(mistake.yaml) == mistake.error);
  }
}

TEST_CASE("overrides are as strict as the file") {
  const SweepSpec spec = parse(kHead + "variants: {gate: [fused]}\n",
                               {"tokens=[pow2(1, 4), 7]", "variants.shared=[slot]", "study=run",
                                "tune.budget=5", "measure.min_rounds=50", "seeds=3",
                                "tiles.grouped_stage1.rows=[4]", "tiles.cpu.topk.fused.rows=[8]"});
  CHECK(spec.study == "run");
  CHECK(spec.tokens == std::vector{1, 2, 4, 7});
  CHECK(spec.variants.shared == std::vector{Shared::slot});
  CHECK(spec.variants.gate == std::vector{Gate::fused});
  CHECK(spec.tune.evaluations == 5);
  CHECK(spec.measure.min_rounds == 50);
  REQUIRE(spec.tune.tiles.size() == 2);
  CHECK(spec.tune.tiles[0].target == "grouped_stage1");
  CHECK(spec.tune.tiles[1].target == "cpu.topk.fused");
  CHECK(spec.tune.tiles[1].axis == "rows");

  CHECK(error_of(kHead, {"tokens=[1,"}) ==
        "override 'tokens=[1,': end of sequence flow not found, expected valid YAML");
  CHECK(error_of(kHead, {"tokns=[1]"}).starts_with("override 'tokns=[1]': unknown key 'tokns'"));
  CHECK(error_of(kHead, {"tokens=x"}).starts_with("override 'tokens=x': tokens is 'x', expected"));
  CHECK(error_of(kHead, {"tokens"}) == "override 'tokens': expected KEY=VALUE");
  CHECK(error_of(kHead, {"=1"}) == "override '=1': expected KEY=VALUE");
  CHECK(error_of(kHead, {"tokens="}).starts_with("override 'tokens=': tokens is empty"));
  CHECK(error_of(kHead, {"seeds=1", "seeds=2"}) ==
        "override 'seeds=2': 'seeds' is set twice, expected once");
  CHECK(error_of(kHead, {"tokens.x=1"}) ==
        "override 'tokens.x=1': what stands at q.yaml:3:9 is no map, expected one to set 'x' in "
        "it");
  CHECK(error_of(kHead, {"tune..budget=1"}).find("is no key") != std::string::npos);
  CHECK(error_of(kHead, {"a.b.c.d=1"}).find("is no key") != std::string::npos);
  CHECK(error_of(kHead, {"variants.shard=[slot]"}).find("did you mean 'shared'?") !=
        std::string::npos);
}

TEST_CASE("the stored text is the sweep with its overrides") {
  const std::string yaml = kHead +
                           "# why\nrouting: [zipf(1.2), uniform]\nmodels2: 1\n"
                           "tiles:\n  topk: {rows: [pow2(1, 8)]}\n";
  const std::string valid = yaml.substr(0, yaml.find("models2")) + yaml.substr(yaml.find("tiles"));
  const SweepSpec changed =
      parse(valid, {"tokens=[1, pow2(2, 8)]", "models=[\"a, b\", 'c: #d', {name: e, tp: 4}]"});
  const SweepSpec again = parse(changed.yaml_text);
  CHECK(again.yaml_text == changed.yaml_text);
  CHECK(again.tokens == std::vector{1, 2, 4, 8});
  CHECK(again.models[0].name == "a, b");
  CHECK(again.models[1].name == "c: #d");
  CHECK(again.models[2].tp == std::vector{4});
  CHECK(again.routing == changed.routing);
  CHECK(again.tune.tiles[0].values == std::vector{1, 2, 4, 8});
}

TEST_CASE("a trace lies beside its sweep and is known by its content") {
  const test::TemporaryFolder folder;
  std::ofstream(folder / "ids.safetensors") << "ids";
  std::ofstream(folder / "copy.safetensors") << "ids";
  std::ofstream(folder / "s.yaml") << kHead << "routing: [uniform, trace: ids.safetensors]\n";
  const SweepSpec spec = read_sweep(folder / "s.yaml", {});
  const SweepSpec copy = read_sweep(
      folder / "s.yaml", {"routing={trace: " + (folder / "copy.safetensors").string() + "}"});
  CHECK(spec.routing[1].trace == folder / "ids.safetensors");
  CHECK(spec.routing[1].trace_hash == hash_text("ids"));
  CHECK(copy.routing[0].trace_hash == hash_text("ids"));
  std::filesystem::remove(folder / "ids.safetensors");
  CHECK_THROWS_WITH_AS(
      read_sweep(folder / "s.yaml", {}),
      doctest::Contains("s.yaml:4:27: routing.trace is 'ids.safetensors', expected a file"), Error);
  std::filesystem::remove(folder / "s.yaml");
  CHECK_THROWS_WITH_AS(read_sweep(folder / "s.yaml", {}), doctest::Contains("cannot be read"),
                       Error);
}

}  // namespace
}  // namespace fse
