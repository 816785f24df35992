#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "core/model_import.h"
#include "core/safetensors.h"
#include "kernels/backend.h"
#include "tests/experiments/command.h"
#include "tuner/tune.h"

namespace fse::test {
namespace {

namespace fs = std::filesystem;

const fs::path kGolden = fs::path(FSELAB_SOURCE_DIR) / "tests/golden";

Result verify(const fs::path& dir, const std::vector<std::string>& more = {}) {
  const TemporaryFolder folder;  // not the project's
  std::vector<std::string> arguments{"verify", dir.string(), "--device", "cpu"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return fselab(folder.path(), arguments);
}

// What a line says of `what`, its first words: "ok ...", "FAILED ..." or "skipped ...".
std::string verdict(const std::vector<std::string>& lines, const std::string& what) {
  std::vector<std::string> found;
  for (const std::string& line : lines)
    if (line.starts_with(what + " "))
      if (const size_t at = line.find_first_not_of(' ', what.size()); at != std::string::npos)
        for (const char* word : {"ok ", "FAILED ", "skipped ("})
          if (line.compare(at, std::strlen(word), word) == 0) found.push_back(line.substr(at));
  CHECK(found.size() == 1);
  return found.size() == 1 ? found.front() : "";
}

// A folder of its own with the golden layer in it, to be damaged.
void copy_golden(const std::string& name, const TemporaryFolder& to) {
  for (const auto& entry : fs::directory_iterator(kGolden / name))
    fs::copy_file(entry.path(), to / entry.path().filename().string());
}

// Adds to one element of a float64 tensor of a safetensors file.
void add_to_element(const fs::path& file, const std::string& tensor, int row, int column,
                    double what) {
  std::string content = read_text(file);
  uint64_t header = 0;
  std::memcpy(&header, content.data(), 8);
  const auto json = nlohmann::json::parse(content.substr(8, header));
  REQUIRE(json.at(tensor).at("dtype") == "F64");
  const int64_t columns = json.at(tensor).at("shape").at(1);
  const int64_t begin = json.at(tensor).at("data_offsets").at(0);
  char* at = content.data() + 8 + header + begin + (row * columns + column) * 8;
  double value = 0;
  std::memcpy(&value, at, 8);
  value += what;
  std::memcpy(at, &value, 8);
  write_text(file, content);
}

TEST_CASE("every golden layer passes: a line per variant and dtype, refusals with their reason") {
  const auto backend = open_backend("cpu");
  for (const std::string name :
       {"qwen3_next", "qwen2_moe", "qwen3_moe", "deepseek_v2", "deepseek_v3", "glm4_moe",
        "qwen3_next_fp8", "glm4_moe_fp8_ragged"}) {
    CAPTURE(name);
    const Result r = verify(kGolden / name);
    CAPTURE(r.err);
    CAPTURE(r.out);
    CHECK(r.exit_code == 0);
    CHECK(r.err.empty());
    const std::vector<std::string> lines = lines_of(r.out);
    const ModelConfig config = import_config(kGolden / name / "config.json");
    int passed = 0, skipped = 0;
    for (const DType dtype : backend->device().dtypes) {
      LayerSpec layer = config.layer;
      layer.dtype = dtype;
      for (const Variant& variant : all_variants()) {
        const std::string what = to_name(dtype) + " " + to_label(variant);
        CAPTURE(what);
        const auto reasons = check(layer, variant, backend->device());
        const std::string said = verdict(lines, what);
        if (reasons.empty()) {
          passed += 2;
          CHECK(said.starts_with("ok "));
          CHECK(verdict(lines, what + " hostile").starts_with("ok "));
          CHECK(contains(said, "routing "));
        } else {
          ++skipped;
          CHECK(said.starts_with("skipped (refused: " + reasons.front()));
        }
      }
    }
    // The golden answer applies to the checkpoint's own weights, and f32 holds them exactly.
    for (const std::string& dtype : std::set<std::string>{"f32", config.storage}) {
      ++passed;
      CHECK(verdict(lines, dtype + " reference").starts_with("ok "));
    }
    CHECK(passed >= 8);  // without a shared expert: two variants of three dtypes, two references
    CHECK(lines.back() == fmt::format("{} passed, 0 failed, {} skipped", passed, skipped));
  }
}

// The sanitizers slow the emulator down tenfold: one layer of each dtype does there.
#ifdef __SANITIZE_ADDRESS__
constexpr bool kSlow = true;
#else
constexpr bool kSlow = false;
#endif

TEST_CASE("every golden layer passes on every emulated GPU, in every number format that it has" *
          doctest::test_suite("long")) {
  const TemporaryFolder folder;
  for (const std::string name : {"qwen3_next_fp8", "qwen3_next", "qwen2_moe", "qwen3_moe",
                                 "deepseek_v2", "deepseek_v3", "glm4_moe", "glm4_moe_fp8_ragged"}) {
    std::vector<std::pair<std::string, std::unique_ptr<Command>>> all;  // side by side
    for (const std::string arch : {"gfx90a", "gfx942", "gfx950", "sm_90"}) {
      if (kSlow && (name != "qwen3_next_fp8" || arch != "gfx942")) continue;
      all.emplace_back(
          arch, std::make_unique<Command>(
                    folder.path(),
                    std::vector<std::string>{"verify", (kGolden / name).string(), "--device",
                                             "emu:" + arch, "--counters", "--db", "counters.db"},
                    name + arch));
    }
    for (auto& [arch, command] : all) {
      CAPTURE(name);
      CAPTURE(arch);
      const Result r = command->wait();
      CAPTURE(r.err);
      CAPTURE(r.out);
      CHECK(r.exit_code == 0);
      CHECK(!contains(r.out, "FAILED"));
      const std::vector<std::string> lines = lines_of(r.out);
      const bool shared = name != "qwen3_moe";
      const std::string fused = fmt::format(
          "{}/fused/{}/fused/stream", name.starts_with("qwen") && shared ? "fused" : "separate",
          shared ? "slot" : "none");
      for (const char* dtype :
           {"bf16 ", "f16 ", "fp8_block128 ", "fp8_block128 activations=fp8 "}) {
        CAPTURE(dtype);
        const bool fp8 = std::string(dtype).starts_with("fp8");
        if (fp8 && arch == "gfx90a") {
          CHECK(!contains(r.out, dtype));
          continue;
        }
        const std::string said = verdict(lines, dtype + fused);
        const bool ragged = said.starts_with("skipped (") && contains(said, "16 bytes");
        CHECK((ragged || said.starts_with("ok ")));
        const std::string staged =
            fmt::format("{}separate/unfused/{}/staged/stream", dtype, shared ? "mlp" : "none");
        CHECK(verdict(lines, staged).starts_with("ok "));
        CHECK(verdict(lines, staged + " hostile").starts_with("ok "));
      }
    }
  }
}

TEST_CASE("--tiles all tries every tile of every step") {
  const std::string name = "qwen2_moe";
  const Result r = verify(kGolden / name, {"--tiles", "all"});
  CAPTURE(r.err);
  CHECK(r.exit_code == 0);
  CHECK(!contains(r.out, "FAILED"));
  const std::vector<std::string> lines = lines_of(r.out);
  const auto backend = open_backend("cpu");
  LayerSpec layer = import_config(kGolden / name / "config.json").layer;
  const auto tokens = static_cast<int>(
      Safetensors::open(kGolden / name / "golden.safetensors").at("input").shape[0]);
  int most = 0;
  for (const DType dtype : backend->device().dtypes) {
    layer.dtype = dtype;
    for (const Variant& variant : all_variants()) {
      if (!check(layer, variant, backend->device()).empty()) continue;
      const LayerPlan plan =
          make_plan(layer, make_shard(layer, 1, 0), variant, tokens, backend->device());
      for (const Step& step : plan.steps) {
        const std::string what =
            fmt::format("{} {} {}", to_name(dtype), to_label(variant), step.name);
        CAPTURE(what);
        const auto tiles = candidates(plan, step, backend->device(), {}).size();
        most = std::max(most, static_cast<int>(tiles));
        CHECK(verdict(lines, what).ends_with(fmt::format("  {} tiles", tiles)));
      }
    }
  }
  CHECK(most > 20);
}

TEST_CASE("one wrong element of the golden answer fails, and is named") {
  const TemporaryFolder folder;
  copy_golden("qwen3_next", folder);
  add_to_element(folder / "golden.safetensors", "output", 3, 5, 1.0);
  const Result r = verify(folder.path());
  CAPTURE(r.out);
  CHECK(r.exit_code == 1);
  const std::vector<std::string> lines = lines_of(r.out);
  CHECK(verdict(lines, "bf16 reference").starts_with("FAILED  out[3,5] is "));
  CHECK(verdict(lines, "f32 reference").starts_with("FAILED  out[3,5] is "));
  CHECK(verdict(lines, "bf16 separate/unfused/mlp/staged/stream").starts_with("FAILED  out[3,5]"));
  // Converted weights have no golden answer; their own reference holds.
  CHECK(verdict(lines, "fp8_block128 separate/unfused/mlp/staged/stream").starts_with("ok "));
}

// Writes zeros over a tensor of a safetensors file.
void zero_tensor(const fs::path& file, const std::string& tensor) {
  std::string content = read_text(file);
  uint64_t header = 0;
  std::memcpy(&header, content.data(), 8);
  const auto offsets =
      nlohmann::json::parse(content.substr(8, header)).at(tensor).at("data_offsets");
  const size_t begin = offsets.at(0), end = offsets.at(1);
  std::fill_n(content.begin() + static_cast<ptrdiff_t>(8 + header + begin), end - begin, '\0');
  write_text(file, content);
}

TEST_CASE("every part of the golden answer is compared") {
  for (const std::string part : {"topk_weights", "router_logits", "routed_out", "shared_out"}) {
    CAPTURE(part);
    const TemporaryFolder folder;
    copy_golden("deepseek_v3", folder);
    zero_tensor(folder / "golden.safetensors", part);
    const Result r = verify(folder.path());
    CHECK(r.exit_code == 1);
    CHECK(contains(verdict(lines_of(r.out), "bf16 reference"), "FAILED  " + part + "["));
  }
}

// An integer tensor of [rows, columns] gets one other element.
void set_id(const fs::path& file, int row, int column, int64_t id) {
  std::string content = read_text(file);
  uint64_t header = 0;
  std::memcpy(&header, content.data(), 8);
  const auto ids = nlohmann::json::parse(content.substr(8, header)).at("topk_ids");
  REQUIRE(ids.at("dtype") == "I64");
  const int64_t columns = ids.at("shape").at(1), begin = ids.at("data_offsets").at(0);
  std::memcpy(content.data() + 8 + header + begin + (row * columns + column) * 8, &id, 8);
  write_text(file, content);
}

TEST_CASE("golden ids are experts, distinct, and the layer's own choice") {
  const auto with_id = [](int64_t id) {
    const TemporaryFolder folder;
    copy_golden("qwen3_moe", folder);
    set_id(folder / "golden.safetensors", 2, 1, id);
    return verify(folder.path());
  };
  const Result beyond = with_id(16);
  CHECK(beyond.exit_code == 5);
  CHECK(contains(beyond.err, "topk_ids[2,1] is 16, expected an expert from 0 to 15"));
  const Safetensors golden = Safetensors::open(kGolden / "qwen3_moe/golden.safetensors");
  std::set<int64_t> row;
  for (int j = 0; j < 4; ++j) row.insert(static_cast<int64_t>(golden.at("topk_ids").at(8 + j)));
  const Result twice = with_id(static_cast<int64_t>(golden.at("topk_ids").at(8)));
  CHECK(twice.exit_code == 5);
  CHECK(contains(twice.err, "expected an expert that its row does not have yet"));
  int64_t other = 0;
  while (row.contains(other)) ++other;
  const Result wrong = with_id(other);
  CHECK(wrong.exit_code == 1);
  CHECK(contains(verdict(lines_of(wrong.out), "bf16 reference"), "FAILED  golden "));
}

TEST_CASE("--layer names one MoE layer of several") {
  const TemporaryFolder folder;
  copy_golden("qwen3_moe", folder);
  const Safetensors one = Safetensors::open(kGolden / "qwen3_moe/model.safetensors");
  std::vector<TensorData> two;
  for (const auto& [name, view] : one.tensors())
    for (const std::string layer : {"0", "7"}) {
      std::string renamed = name;
      renamed.replace(renamed.find(".0."), 3, "." + layer + ".");
      two.push_back({renamed, view.dtype, view.shape, {view.bytes.begin(), view.bytes.end()}});
    }
  write_safetensors(folder / "model.safetensors", two);
  const Result which = verify(folder.path());
  CHECK(which.exit_code == 5);
  CHECK(contains(which.err, "--layer PREFIX"));
  CHECK(contains(which.err, "model.layers.0.mlp, model.layers.7.mlp"));
  CHECK(verify(folder.path(), {"--layer", "model.layers.7.mlp"}).exit_code == 0);
  CHECK(verify(folder.path(), {"--layer", "model.layers.3.mlp"}).exit_code == 5);
}

TEST_CASE("a damaged checkpoint exits with 5 and names the file") {
  const TemporaryFolder folder;
  copy_golden("qwen3_moe", folder);
  const fs::path file = folder / "model.safetensors";
  const std::string whole = read_text(file);
  const auto damaged = [&](const std::string& content) {
    write_text(file, content);
    const Result r = verify(folder.path());
    CAPTURE(r.err);
    CHECK(r.exit_code == 5);
    CHECK(r.out.empty());
    CHECK(lines_of(r.err).size() == 1);
    CHECK(r.err.starts_with("fselab: " + file.string()));
  };
  damaged(whole.substr(0, whole.size() / 2));
  damaged("");
  damaged(std::string(8, '\xff') + whole.substr(8));
  std::string renamed = whole;  // of the same length, so that only the name is wrong
  renamed.replace(renamed.find("gate_proj"), 9, "gate_porj");
  damaged(renamed);
}

TEST_CASE("a layer that is not implemented is refused") {
  const TemporaryFolder folder;
  copy_golden("deepseek_v3", folder);
  auto config = nlohmann::json::parse(read_text(folder / "config.json"));
  config["scoring_func"] = "sqrtsoftplus";
  write_text(folder / "config.json", config.dump());
  const Result r = verify(folder.path());
  CHECK(r.exit_code == 2);
  CHECK(r.out.empty());
  CHECK(r.err.starts_with("refused: "));
  CHECK(contains(r.err, "scoring_func"));
}

TEST_CASE("what is not there is a mistake of the user") {
  const TemporaryFolder folder;
  const Result missing = verify(folder / "nowhere");
  CHECK(missing.exit_code == 2);
  CHECK(missing.err.starts_with("fselab: " + (folder / "nowhere").string() + ": expected "));
  fs::copy_file(kGolden / "qwen3_moe/model.safetensors", folder / "model.safetensors");
  const Result no_config = verify(folder.path());
  CHECK(no_config.exit_code == 2);
  CHECK(contains(no_config.err, "config.json"));
}

}  // namespace
}  // namespace fse::test
