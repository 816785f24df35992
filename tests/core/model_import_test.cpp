#include "core/model_import.h"

#include "tests/core/config_fixture.h"

namespace fse {
namespace {

const std::filesystem::path kConfigs = std::filesystem::path(FSELAB_SOURCE_DIR) / "configs";

// "hidden x intermediate, experts/top_k score bias groups/kept renormalize scaling, shared"
std::string summary(const LayerSpec& layer) {
  const RoutingSpec& r = layer.routing;
  std::string text = std::to_string(layer.hidden) + "x" + std::to_string(layer.intermediate) + " " +
                     std::to_string(r.experts) + "/" + std::to_string(r.top_k) + " " +
                     to_name(r.score);
  if (r.selection_bias) text += " bias";
  if (r.groups > 1)
    text += " groups " + std::to_string(r.groups) + "/" + std::to_string(r.groups_kept) + " " +
            to_name(r.group_score);
  if (r.renormalize) text += " norm";
  if (r.scaling != 1) text += " x" + std::to_string(r.scaling).substr(0, 5);
  if (layer.has_shared())
    text += " + " + std::to_string(layer.shared.count) + " shared " +
            std::to_string(layer.shared.shared_width) + " " + to_name(layer.shared.weight);
  return text;
}

}  // namespace

// The right-hand sides are the published models' values, written down independently of the files.
TEST_CASE("every preset is the layer its model publishes") {
  struct Row {
    const char* name;
    const char* layer;
    int num_layers, dense;
    const char* storage;
  };
  const Row rows[] = {
      {"qwen3-next-80b-a3b", "2048x512 512/10 softmax norm + 1 shared 512 sigmoid_gate", 48, 0,
       "bf16"},
      {"qwen3-30b-a3b", "2048x768 128/8 softmax norm", 48, 0, "fp8_block128"},
      {"qwen3-235b-a22b", "4096x1536 128/8 softmax norm", 94, 0, "bf16"},
      {"qwen3-coder-480b-a35b", "6144x2560 160/8 softmax norm", 62, 0, "bf16"},
      {"qwen3.5-35b-a3b", "2048x512 256/8 softmax norm + 1 shared 512 sigmoid_gate", 40, 0, "bf16"},
      {"qwen1.5-moe-a2.7b", "2048x1408 60/4 softmax + 1 shared 5632 sigmoid_gate", 24, 0, "bf16"},
      {"deepseek-v2-lite", "2048x1408 64/6 softmax + 2 shared 2816 constant", 27, 1, "bf16"},
      {"deepseek-v3",
       "7168x2048 256/8 sigmoid bias groups 8/4 sum_of_top2 norm x2.500 + 1 shared 2048 constant",
       61, 3, "fp8_block128"},
      {"glm-4.5", "5120x1536 160/8 sigmoid bias norm x2.500 + 1 shared 1536 constant", 92, 3,
       "bf16"},
      {"glm-4.5-air", "4096x1408 128/8 sigmoid bias norm + 1 shared 1408 constant", 46, 1, "bf16"},
      {"glm-4.7", "5120x1536 160/8 sigmoid bias norm x2.500 + 1 shared 1536 constant", 92, 3,
       "bf16"},
      {"glm-5", "6144x2048 256/8 sigmoid bias norm x2.500 + 1 shared 2048 constant", 78, 3,
       "fp8_block128"},
      {"kimi-k2", "7168x2048 384/8 sigmoid bias norm x2.827 + 1 shared 2048 constant", 61, 1,
       "fp8_block128"},
      {"minimax-m2.5", "3072x1536 256/8 sigmoid bias norm", 62, 0, "fp8_block128"},
      {"mixtral-8x7b", "4096x14336 8/2 softmax norm", 32, 0, "bf16"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const ModelConfig model = find_model(row.name, kConfigs);
    CHECK(model.name == row.name);
    CHECK(model.layer.model == row.name);
    CHECK(summary(model.layer) == row.layer);
    CHECK(model.num_layers == row.num_layers);
    CHECK(static_cast<int>(model.dense_layers.size()) == row.dense);
    CHECK(model.storage == row.storage);
    CHECK(model.storage_supported);
    CHECK(model.layer.dtype == DType::bf16);
  }
  CHECK(preset_names(kConfigs).size() == std::size(rows));  // no preset is without a check
}

TEST_CASE("the golden layers' configs say what was written down by hand") {
  for (GoldenLayer golden : golden_layers()) {
    CAPTURE(golden.folder);
    const ModelConfig model = import_config(golden_dir(golden.folder) / "config.json");
    CHECK(summary(model.layer) == summary(golden.layer));
    CHECK(model.storage == (golden.fp8 ? "fp8_block128" : "bf16"));
  }
}

TEST_CASE("a model is found by preset, file or checkpoint folder") {
  const std::filesystem::path file = kConfigs / "models/kimi-k2.json";
  CHECK(find_model("kimi-k2", kConfigs).layer.routing.experts == 384);
  CHECK(find_model(file.string(), kConfigs).name == file.string());
  const std::string folder = golden_dir("qwen3_moe").string();
  CHECK(find_model(folder, kConfigs).name == folder);
}

TEST_CASE("a model that is not found says what was near and what there is") {
  const auto error = [](const std::string& name) {
    return usage_error([&] { find_model(name, kConfigs); });
  };
  check_message(error("qwen3-nxt"), {"qwen3-nxt", "did you mean 'qwen3-next-80b-a3b'", "glm-5"});
  check_message(error("unheard-of"), {"'unheard-of' is not a preset", "config.json", "kimi-k2"});
  check_message(error(""), {"'' is not a preset"});
  check_message(error("Qwen/Qwen3-30B-A3B"), {"Qwen/Qwen3-30B-A3B: no such file"});
  check_message(error("mine.json"), {"mine.json: no such file"});
}

TEST_CASE("a missing configs folder is the environment's fault") {
  try {
    preset_names("/no/such/folder");
    FAIL("expected an error");
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::environment);
    check_message(error.what(), {"/no/such/folder/models"});
  }
}

TEST_CASE("the path is the model's name where a file is imported") {
  const std::string file = (kConfigs / "models/glm-5.json").string();
  const ModelConfig model = import_config(file);
  CHECK(model.name == file);
  CHECK(model.model_type == "glm_moe_dsa");
}

}  // namespace fse
