#include <doctest/doctest.h>

#include <regex>

#include "tests/core/trace_fixture.h"
#include "tests/experiments/command.h"

namespace fse::test {
namespace {

const std::string kLayer = R"("moe_intermediate_size": 64, "num_experts_per_tok": 2,
  "num_hidden_layers": 4})";

void write_models(const TemporaryFolder& folder) {
  write_text(folder / "small.json",
             R"({"model_type": "qwen3_moe", "hidden_size": 64, "num_experts": 8, )" + kLayer);
  write_text(
      folder / "huge.json",
      R"({"model_type": "qwen3_moe", "hidden_size": 1048576, "num_experts": 65536, )" + kLayer);
  write_text(folder / "new.json", R"({"model_type": "deepseek_v4", "hidden_size": 64,
    "n_routed_experts": 8, "scoring_func": "sqrtsoftplus", )" +
                                      kLayer);
}

Result plan(const TemporaryFolder& folder, const std::string& models,
            const std::string& rest = "") {
  write_text(folder / "s.yaml", "study: s\nmodels: [" + models + "]\ntokens: [1, 4]\n" +
                                    "device: cpu\nvariants: {gate: separate, topk: fused}\n" +
                                    "baseline: {topk: fused}\n" + rest);
  return fselab(folder.path(), {"plan", "s.yaml"});
}

int count_lines(const std::string& text, const std::string& expression) {
  int count = 0;
  for (const std::string& line : lines_of(text))
    count += std::regex_search(line, std::regex(expression));
  return count;
}

TEST_CASE("what does not fit into memory is marked with both sizes and is not to run") {
  const TemporaryFolder folder;
  write_models(folder);
  const Result r = plan(folder, "./small.json, ./huge.json");
  CAPTURE(r.err);
  CAPTURE(r.out);
  CHECK(r.exit_code == 0);
  CHECK(contains(lines_of(r.out).front(), ": 2 to run, 0 refused, 2 out of memory; plan "));
  CHECK(count_lines(r.out,
                    "\\| baseline; out of memory: needs [0-9.]+ GB .*, cpu has [0-9.]+ GB") == 2);
  CHECK(count_lines(r.out, "\\| baseline +\\|") == 2);
  CHECK(count_lines(r.out, "^  \\./small\\.json bf16 tp=1: ") == 1);  // of the memory that is used
  CHECK(count_lines(r.out, "^  \\./huge\\.json") == 0);
  // Nothing of it is tuned or measured: the time is that of the small model alone.
  const auto time = [](const Result& result) {
    std::smatch match;
    const std::regex tiles("up to ([0-9]+) tiles");
    REQUIRE(std::regex_search(result.out, match, tiles));
    return match[1].str();
  };
  CHECK(time(r) == time(plan(folder, "./small.json")));
}

TEST_CASE("a model that is not implemented is told, and the others are planned") {
  const TemporaryFolder folder;
  write_models(folder);
  const Result r = plan(folder, "./new.json, ./small.json");
  CAPTURE(r.err);
  CHECK(r.exit_code == 0);
  CHECK(contains(r.out, ": 2 to run, 0 refused; plan "));
  CHECK(count_lines(r.out, "^refused: .*/new\\.json: scoring_func: ") == 1);
  const Result none = plan(folder, "./new.json");
  CHECK(none.exit_code == 2);
  CHECK(none.out.empty());
  CHECK(count_lines(none.err, "^refused: nothing in sweep s .*/new\\.json: scoring_func: ") == 1);
}

TEST_CASE("a model that is not implemented is told in the report, too") {
  const TemporaryFolder folder;
  write_models(folder);
  plan(folder, "./new.json, ./small.json",
       "tune: {strategy: none}\nmeasure: {min_rounds: 6, interval: 50%, cache: warm}\n");
  const Result r = fselab(folder.path(), {"run", "s.yaml", "tokens=1", "--db", "r.db", "--quiet"});
  CAPTURE(r.err);
  CHECK(r.exit_code == 0);
  const size_t section = r.out.find("## Without a result\n\n- refused: ");
  REQUIRE(section != std::string::npos);
  CHECK(r.out.find("new.json: scoring", section) != std::string::npos);
  CHECK(fselab(folder.path(), {"report", "--db", "r.db"}).out == r.out);
  const Result json = fselab(folder.path(), {"report", "--db", "r.db", "--format", "json"});
  CHECK(contains(json.out, "\"refused: "));
}

TEST_CASE("devices that are never measured name the command that takes them") {
  const TemporaryFolder folder;
  write_models(folder);
  for (const std::string command : {"plan", "run"}) {
    const auto err = [&](const std::string& device) {
      plan(folder, "./small.json");
      std::vector<std::string> words{command, "s.yaml", "device=" + device};
      if (command == "run") words.insert(words.end(), {"--db", "r.db"});
      const Result r = fselab(folder.path(), words);
      CHECK(r.exit_code == 3);
      return r.err;
    };
    CHECK(contains(err("emu:gfx942"), "fselab verify DIR --device emu:gfx942"));
    CHECK(contains(err("sim:mi355x"), "fselab simulate SWEEP device=mi355x"));
  }
}

TEST_CASE("a trace with a bad row is refused where it stands, a damaged one ends the command") {
  const TemporaryFolder folder;
  write_models(folder);
  write_trace(folder / "t.safetensors", {{0, 1}, {2, 3}, {4, 8}});
  const std::string trace = "routing: [uniform, {trace: t.safetensors}]\n";
  const Result r = plan(folder, "./small.json", trace);
  CAPTURE(r.err);
  CHECK(r.exit_code == 0);
  CHECK(contains(r.out, ": 2 to run, 2 refused; plan "));
  CHECK(count_lines(r.out,
                    "^refused: .*routing=trace: .*/t\\.safetensors: topk_ids row 2 column "
                    "1 is 8, expected an expert from 0 to 7 \\(2 cases\\)$") == 1);
  CHECK(contains(lines_of(r.out).front(), " in 4 workloads on "));
  write_text(folder / "one.yaml",
             "study: s\nmodels: ./small.json\ntokens: 1\ndevice: cpu\n"
             "variants: {gate: separate, topk: fused}\n"
             "baseline: {topk: fused}\n");
  CHECK(contains(fselab(folder.path(), {"plan", "one.yaml"}).out, "s: 1 case in 1 workload on "));
  write_text(folder / "t.safetensors", "no trace");
  const Result damaged = plan(folder, "./small.json", trace);
  CHECK(damaged.exit_code == 5);
  CHECK(contains(damaged.err, "t.safetensors"));
}

TEST_CASE("capabilities name the dense layers") {
  const TemporaryFolder folder;
  const auto layers = [&](const std::string& keys) {
    write_text(folder / "m.json", R"({"model_type": "qwen3_moe", "hidden_size": 64,
      "moe_intermediate_size": 64, "num_experts": 8, "num_experts_per_tok": 2, )" +
                                      keys + "}");
    const Result r = fselab(folder.path(), {"capabilities", "--model", "./m.json", "--device=cpu"});
    CAPTURE(r.err);
    CHECK(r.exit_code == 0);
    return r.out;
  };
  CHECK(contains(layers(R"("num_hidden_layers": 6)"), "\n6 layers, dense: none; stored as "));
  CHECK(contains(layers(R"("num_hidden_layers": 8, "mlp_only_layers": [0, 1, 2, 5])"),
                 "\n8 layers, dense: 0-2, 5; stored as "));
  const Result glm = fselab(folder.path(), {"capabilities", "--model=glm-4.7", "--device=cpu"});
  CHECK(contains(glm.out, ", dense: 0-2; stored as "));
}

TEST_CASE("capabilities ask the kernels, not only the rules") {
  const TemporaryFolder folder;
  write_text(folder / "big.json", R"({"model_type": "qwen3_moe", "hidden_size": 64,
    "num_experts": 2048, "moe_intermediate_size": 64, "num_experts_per_tok": 40,
    "num_hidden_layers": 4})");
  const Result big =
      fselab(folder.path(), {"capabilities", "--model", "./big.json", "--device", "emu:gfx942"});
  CAPTURE(big.out);
  CHECK(big.exit_code == 2);
  CHECK(count_lines(big.out, "^\\| (gate|topk|shared|experts|launch|dtypes) .*\\| yes") == 0);
  CHECK(contains(big.out, "more than 1024 experts"));
  const Result cpu =
      fselab(folder.path(), {"capabilities", "--model", "./big.json", "--device", "cpu"});
  CHECK(cpu.exit_code == 0);
}

}  // namespace
}  // namespace fse::test
