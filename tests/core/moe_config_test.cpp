#include "core/moe_config.h"

#include "tests/core/config_fixture.h"

namespace fse {

namespace {

RoutingSpec routing(const json& config) {
  return import_json(config).layer.routing;
}

SharedSpec shared(const json& config) {
  return import_json(config).layer.shared;
}

std::vector<int> dense(const json& changes) {
  return import_json(with(qwen3_next_config(), changes)).dense_layers;
}

json repeated(int count, const json& value) {
  return json(std::vector<json>(static_cast<size_t>(count), value));
}

}  // namespace

TEST_CASE("every spelling of a size is read") {
  const json base =
      without(without(deepseek_v3_config(), "n_routed_experts"), "num_experts_per_tok");
  for (const char* experts :
       {"num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"})
    for (const char* top_k : {"num_experts_per_tok", "num_experts_per_token", "experts_per_token",
                              "top_k_experts", "moe_k", "moe_topk"}) {
      CAPTURE(experts);
      CAPTURE(top_k);
      const RoutingSpec got = routing(with(base, {{experts, 32}, {top_k, 5}}));
      CHECK(got.experts == 32);
      CHECK(got.top_k == 5);
    }
}

TEST_CASE("a silent config means what its model type means") {
  const auto silent = [](const char* model_type) {
    json config = deepseek_v3_config();
    for (const char* key : {"scoring_func", "topk_method", "norm_topk_prob"}) config.erase(key);
    return with(config, {{"model_type", model_type}});
  };
  for (const char* type : {"deepseek_v3", "deepseek_v32", "kimi_k2", "kimi_k25", "glm4_moe",
                           "glm4_moe_lite", "glm_moe_dsa", "dots1"}) {
    CAPTURE(type);
    const RoutingSpec got = routing(silent(type));
    CHECK(got.score == ScoreFunction::sigmoid);
    CHECK(got.selection_bias);
    CHECK(got.renormalize);
    CHECK(got.group_score == GroupScore::sum_of_top2);
  }
  const json qwen = without(qwen3_next_config(), "norm_topk_prob");
  CHECK(routing(qwen).renormalize);
  CHECK(routing(with(qwen, {{"model_type", "qwen3_5_moe_text"}})).renormalize);
  CHECK_FALSE(routing(with(qwen, {{"model_type", "qwen2_moe"}})).renormalize);
  const json moe =
      with(qwen, {{"model_type", "qwen3_moe"}, {"shared_expert_intermediate_size", 0}});
  CHECK_FALSE(routing(moe).renormalize);
  CHECK(routing(moe).score == ScoreFunction::softmax);
}

TEST_CASE("null means absent") {
  const json nulls = {{"scoring_func", nullptr},
                      {"topk_method", nullptr},
                      {"norm_topk_prob", nullptr},
                      {"moe_latent_size", nullptr},
                      {"swiglu_limit", nullptr},
                      {"num_experts", nullptr},
                      {"an_expert_key_of_tomorrow", nullptr}};
  CHECK(routing(with(deepseek_v3_config(), nulls)).selection_bias);
  CHECK(shared(with(deepseek_v3_config(), {{"n_shared_experts", nullptr}})).shared_width == 0);
}

TEST_CASE("topk_method decides bias and groups") {
  const auto method = [](const char* name) {
    return routing(with(deepseek_v3_config(), {{"topk_method", name}}));
  };
  CHECK(method("noaux_tc").selection_bias);
  CHECK(method("noaux_tc").group_score == GroupScore::sum_of_top2);
  CHECK(method("group_limited_greedy").groups == 4);
  CHECK(method("group_limited_greedy").groups_kept == 2);
  CHECK(method("group_limited_greedy").group_score == GroupScore::max);
  CHECK_FALSE(method("group_limited_greedy").selection_bias);
  CHECK(method("greedy").groups == 1);
  CHECK_FALSE(method("greedy").selection_bias);
}

TEST_CASE("a count means experts as wide as the routed ones, a width means all together") {
  const SharedSpec two = shared(with(deepseek_v3_config(), {{"n_shared_experts", 2}}));
  CHECK(two.count == 2);
  CHECK(two.shared_width == 64);
  CHECK(two.weight == SharedWeight::constant);
  CHECK(two.constant == 1.0);
  const SharedSpec wide =
      shared(with(qwen3_next_config(), {{"shared_expert_intermediate_size", 128}}));
  CHECK(wide.count == 1);
  CHECK(wide.shared_width == 128);
  CHECK(wide.weight == SharedWeight::sigmoid_gate);
  CHECK(shared(with(qwen3_next_config(), {{"shared_expert_intermediate_size", 0}})).count == 0);
  for (const char* key :
       {"shared_intermediate_size", "share_expert_dim", "moe_shared_expert_intermediate_size"})
    CHECK(shared(with(deepseek_v3_config(), {{key, 48}})).shared_width == 48);
  for (const char* key : {"num_shared_experts", "moe_num_shared_experts", "num_shared_expert"})
    CHECK(
        shared(with(without(deepseek_v3_config(), "n_shared_experts"), {{key, 3}})).shared_width ==
        96);
}

TEST_CASE("the language model of a multimodal config is read") {
  for (const char* key : {"text_config", "llm_config", "language_config"}) {
    CAPTURE(key);
    const json config = {{"model_type", "kimi_k25"},
                         {key, deepseek_v3_config()},
                         {"quantization_config", {{"quant_method", "mxfp4"}}},
                         {"vision_config", {{"hidden_act", "gelu"}, {"num_experts", 3}}}};
    const ModelConfig model = import_json(config);
    CHECK(model.model_type == "deepseek_v3");
    CHECK(model.layer.routing.experts == 16);
    CHECK(model.storage == "mxfp4");
    CHECK(model.storage_key == "quantization_config");
  }
  const json outer = {{"model_type", "qwen3_next"},
                      {"text_config", without(qwen3_next_config(), "model_type")}};
  CHECK(import_json(outer).model_type == "qwen3_next");
}

TEST_CASE("a list that names layers which are not there is told") {
  const auto notes = [](const json& list) {
    return import_json(with(qwen3_next_config(), {{"mlp_only_layers", list}})).notes;
  };
  CHECK(notes({0, 1}).empty());
  REQUIRE(notes({0, 100}).size() == 1);
  CHECK(notes({0, 100})[0].starts_with("mlp_only_layers names layer 100, but the last one is "));
}

TEST_CASE("every spelling of the dense layers is read") {
  CHECK(dense(json::object()) == std::vector<int>{});
  CHECK(dense({{"first_k_dense_replace", 2}}) == std::vector<int>{0, 1});
  CHECK(dense({{"moe_layer_num_skipped", 1}}) == std::vector<int>{0});
  CHECK(dense({{"mlp_only_layers", {5, 1, 99}}}) == std::vector<int>{1, 5});
  CHECK(dense({{"decoder_sparse_step", 2}}) == std::vector<int>{0, 2, 4});
  CHECK(dense({{"interleave_moe_layer_step", 3}}) == std::vector<int>{0, 1, 3, 4});
  CHECK(dense({{"moe_layer_freq", 2}}) == std::vector<int>{1, 3, 5});
  CHECK(dense({{"moe_layer_freq", {0, 1, 1, 1, 0, 1}}}) == std::vector<int>{0, 4});
  CHECK(dense({{"moe_layer_start_index", 3}}) == std::vector<int>{0, 1, 2});
  CHECK(dense({{"moe_layer_start_index", 1}, {"moe_layer_end_index", 4}}) ==
        std::vector<int>{0, 5});
  CHECK(dense({{"moe_layer_end_index", -1}}) == std::vector<int>{});
  const json kinds = {"dense", "sparse", "sparse", "sparse", "sparse", "dense"};
  CHECK(dense({{"mlp_layer_types", kinds}}) == std::vector<int>{0, 5});
  CHECK(dense({{"first_k_dense_replace", 1}, {"moe_layer_freq", 2}}) ==
        std::vector<int>{0, 1, 3, 5});
}

TEST_CASE("a list has one entry per layer, and what dense layers say does not matter") {
  const json hunyuan = {{"model_type", "hunyuan_v1_moe"},
                        {"hidden_act", "silu"},
                        {"hidden_size", 64},
                        {"intermediate_size", 32},
                        {"num_hidden_layers", 4},
                        {"num_experts", 16},
                        {"moe_topk", {1, 4, 4, 4}},
                        {"moe_intermediate_size", repeated(4, 32)},
                        {"num_shared_expert", repeated(4, 1)},
                        {"use_mixed_mlp_moe", true},
                        {"n_group", false},
                        {"moe_layer_num_skipped", 1}};
  const ModelConfig model = import_json(hunyuan);
  CHECK(model.layer.routing.top_k == 4);
  CHECK(model.layer.routing.renormalize);
  CHECK(model.layer.routing.groups == 1);
  CHECK(model.layer.shared.shared_width == 32);
  CHECK(model.layer.shared.weight == SharedWeight::constant);
  CHECK_FALSE(routing(with(hunyuan, {{"moe_topk", 1}})).renormalize);
  CHECK(routing(with(hunyuan, {{"num_experts_per_tok", 4}})).top_k == 4);  // beside an equal list
  check_message(refusal(with(hunyuan, {{"moe_topk", {4, 4, 2, 4}}})),
                {"moe_topk: is 4 in layer 1 but 2 in layer 2"});
  check_message(refusal(with(hunyuan, {{"moe_intermediate_size", {32, 32, 32, 64}}})),
                {"moe_intermediate_size: "});
  check_message(mistake(with(hunyuan, {{"moe_topk", {4, 4}}})), {"moe_topk is [4,4]", "4 layers"});
}

TEST_CASE("MiniMax, Mixtral and ERNIE mean what their code does") {
  const json mixtral = {{"model_type", "mixtral"}, {"hidden_act", "silu"},
                        {"hidden_size", 64},       {"intermediate_size", 96},
                        {"num_hidden_layers", 2},  {"num_local_experts", 8},
                        {"num_experts_per_tok", 2}};
  CHECK(import_json(mixtral).layer.intermediate == 96);
  CHECK(routing(mixtral).renormalize);
  check_message(refusal(with(mixtral, {{"norm_topk_prob", false}})), {"norm_topk_prob"});
  const json minimax = with(
      mixtral,
      {{"model_type", "minimax_m2"}, {"scoring_func", "sigmoid"}, {"shared_intermediate_size", 0}});
  CHECK(routing(minimax).selection_bias);
  CHECK_FALSE(routing(with(minimax, {{"use_routing_bias", false}})).selection_bias);
  const json ernie = {{"model_type", "ernie4_5_moe"},
                      {"hidden_act", "silu"},
                      {"hidden_size", 64},
                      {"intermediate_size", 96},
                      {"num_hidden_layers", 4},
                      {"moe_num_experts", 8},
                      {"moe_k", 2},
                      {"moe_intermediate_size", 32},
                      {"moe_num_shared_experts", 2},
                      {"moe_layer_start_index", 1},
                      {"moe_capacity", {64, 64}},
                      {"moe_gate", "topk"},
                      {"moe_use_aux_free", true},
                      {"use_bias", false}};
  CHECK(routing(ernie).score == ScoreFunction::softmax);
  CHECK(routing(ernie).selection_bias);
  CHECK(shared(ernie).shared_width == 64);
  CHECK(import_json(ernie).dense_layers == std::vector<int>{0});
  check_message(refusal(with(ernie, {{"use_bias", true}})), {"use_bias: "});
}

TEST_CASE("storage is named and never refuses a layer") {
  const auto storage = [](const json& quantization) {
    const ModelConfig model =
        import_json(with(deepseek_v3_config(), {{"quantization_config", quantization}}));
    return model.storage + (model.storage_supported ? "" : " (unsupported)");
  };
  const json fp8 = {{"quant_method", "fp8"}, {"fmt", "e4m3"}, {"weight_block_size", {128, 128}}};
  CHECK(storage(fp8) == "fp8_block128");
  CHECK(storage(with(fp8, {{"fmt", "float8_e4m3fn"}})) == "fp8_block128");
  CHECK(storage(with(fp8, {{"weight_block_size", {64, 64}}})) ==
        "fp8 e4m3, blocks of [64,64] (unsupported)");
  CHECK(storage(with(fp8, {{"fmt", "e5m2"}})) == "fp8 e5m2, blocks of [128,128] (unsupported)");
  CHECK(storage(without(fp8, "weight_block_size")) == "fp8 e4m3, per tensor (unsupported)");
  CHECK(storage({{"quant_method", "mxfp4"}}) == "mxfp4 (unsupported)");
  const json weights = {{"num_bits", 4}, {"strategy", "group"}};
  CHECK(storage({{"quant_method", "compressed-tensors"},
                 {"format", "pack-quantized"},
                 {"config_groups", {{"group_0", {{"weights", weights}}}}}}) ==
        "compressed-tensors, pack-quantized, 4 bit group (unsupported)");
  CHECK(storage("nonsense") == "quantized: \"nonsense\" (unsupported)");
  CHECK(storage({{"config_groups", 7}, {"quant_method", 3}}) == "3 (unsupported)");
  const json half = {{"torch_dtype", "float16"}};
  CHECK(import_json(with(deepseek_v3_config(), half)).storage == "f16");
  CHECK_FALSE(import_json(with(deepseek_v3_config(), {{"dtype", "int3"}})).storage_supported);
}

}  // namespace fse
