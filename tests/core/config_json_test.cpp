#include "core/config_json.h"

#include "tests/core/config_fixture.h"

namespace fse {

namespace {

std::string text_error(const std::string& text) {
  return usage_error([&] { import_text(text); });
}

}  // namespace

TEST_CASE("a file that cannot be a config is named with the reason") {
  const test::TemporaryFolder dir;
  const auto error = [](const std::filesystem::path& path) {
    return usage_error([&] { import_config(path); });
  };
  check_message(error(dir.path() / "none.json"), {"none.json: no such file"});
  check_message(error(dir.path()), {dir.path().string() + ": is a folder, expected a config.json"});
  for (const char* text : {"", "{", "not json", "{\"a\": 1,}", "{\"a\": 1} x", "\xff\xfe", "[1]",
                           "7", "null", "{\"num_experts\": 1e999}", "{\"a\": \"\x01\"}"}) {
    CAPTURE(text);
    check_message(text_error(text), {"config.json: ", "JSON"});
  }
  check_message(text_error(std::string(100000, '[')), {"config.json: ", "nested deeper than 64"});
  check_message(text_error(R"({"num_experts": 8, "num_experts": 16})"), {"num_experts", "twice"});
}

TEST_CASE("a config without experts is no MoE model") {
  check_message(text_error("{}"), {"not the config of an MoE model", "num_experts"});
  check_message(text_error(R"({"model_type": "llama", "num_experts": null, "text_config": 7})"),
                {"text_config is 7, expected an object with the language model's keys"});
}

TEST_CASE("a value of the wrong type or size says key, value and what was expected") {
  const json bad[] = {"64",
                      64.5,
                      64.0,
                      -1,
                      0,
                      true,
                      json::array(),
                      json::object(),
                      1e30,
                      INT64_MAX,
                      INT64_MIN,
                      UINT64_MAX,
                      (int64_t{1} << 32) + 64};
  for (const char* key : {"hidden_size", "n_routed_experts", "num_experts_per_tok",
                          "moe_intermediate_size", "num_hidden_layers", "n_group", "topk_group"})
    for (const json& value : bad) {
      CAPTURE(key);
      CAPTURE(value.dump());
      check_message(mistake(with(deepseek_v3_config(), {{key, value}})),
                    {"config.json: " + std::string(key) + " is " + value.dump() + ", expected "});
    }
  const std::pair<const char*, json> others[] = {{"norm_topk_prob", "true"},
                                                 {"norm_topk_prob", 1},
                                                 {"scoring_func", 3},
                                                 {"topk_method", true},
                                                 {"model_type", 4},
                                                 {"routed_scaling_factor", "2"},
                                                 {"routed_scaling_factor", -2.5},
                                                 {"routed_scaling_factor", 0},
                                                 {"n_shared_experts", -1},
                                                 {"first_k_dense_replace", 5},
                                                 {"mlp_only_layers", 3},
                                                 {"mlp_only_layers", {"0"}},
                                                 {"moe_layer_freq", {0, 1}},
                                                 {"moe_layer_freq", 0},
                                                 {"decoder_sparse_step", 0},
                                                 {"mlp_layer_types", {"a", "b", "c", "d"}}};
  for (const auto& [key, value] : others) {
    CAPTURE(key);
    CAPTURE(value.dump());
    check_message(mistake(with(deepseek_v3_config(), {{key, value}})),
                  {std::string(key) + " is ", ", expected "});
  }
}

TEST_CASE("numbers that JSON does not have are refused where they are read, and only there") {
  const std::string rest =
      R"("hidden_size": 64, "moe_intermediate_size": 32, "num_hidden_layers": 2,
         "num_experts_per_tok": 2, "model_type": "qwen3_moe", "num_experts": )";
  const std::string harmless = R"({"time_step_limit": [0.0, Infinity], "x": -Infinity,
         "note": "NaN \" Infinity", )";
  CHECK(import_text(harmless + rest + "8}").layer.routing.experts == 8);
  check_message(text_error("{" + rest + "NaN}"), {"num_experts is \"NaN\", expected an integer"});
  check_message(text_error("{" + rest + "-Infinity}"), {"num_experts is \"-Infinity\""});
}

TEST_CASE("a missing key says how else it may be spelled") {
  check_message(mistake(without(deepseek_v3_config(), "hidden_size")), {"hidden_size is missing"});
  check_message(mistake(without(deepseek_v3_config(), "num_experts_per_tok")),
                {"num_experts_per_tok is missing", "moe_topk"});
  check_message(mistake(without(deepseek_v3_config(), "num_hidden_layers")),
                {"num_hidden_layers is missing"});
  check_message(mistake(without(deepseek_v3_config(), "moe_intermediate_size")),
                {"moe_intermediate_size is missing"});
  check_message(mistake(without(qwen3_next_config(), "shared_expert_intermediate_size")),
                {"shared_expert_intermediate_size is missing"});
}

TEST_CASE("two spellings that disagree are named both") {
  const json base = deepseek_v3_config();
  CHECK_NOTHROW(import_json(with(base, {{"num_experts", 16}})));
  check_message(mistake(with(base, {{"num_experts", 32}})),
                {"num_experts is 32, but n_routed_experts is 16"});
  check_message(mistake(with(base, {{"moe_renormalize", false}})),
                {"norm_topk_prob is true, but moe_renormalize is false"});
  check_message(mistake(with(base, {{"moe_router_scaling_factor", 2}})),
                {"routed_scaling_factor is 2.5, but moe_router_scaling_factor is 2"});
  check_message(mistake(with(base, {{"use_routing_bias", false}})),
                {"topk_method is noaux_tc, but use_routing_bias is false"});
  check_message(mistake(with(base, {{"share_expert_dim", 0}})),
                {"n_shared_experts is 1, but share_expert_dim is 0"});
}

TEST_CASE("values that do not fit together are named") {
  check_message(mistake(with(deepseek_v3_config(), {{"num_experts_per_tok", 17}})),
                {"num_experts_per_tok is 17, expected 1 to n", " = 16"});
  check_message(mistake(with(deepseek_v3_config(), {{"n_group", 5}})),
                {"n_group is 5, expected a divisor of n_routed_experts = "});
  check_message(mistake(with(deepseek_v3_config(), {{"n_group", 16}, {"topk_group", 8}})),
                {"n_group is 16"});
  check_message(mistake(with(deepseek_v3_config(), {{"topk_group", 8}})),
                {"topk_group is 8, expected 1 to n_group = "});
  check_message(mistake(with(deepseek_v3_config(), {{"first_k_dense_replace", 4}})),
                {"all 4 layers are dense"});
  check_message(mistake(with(deepseek_v3_config(),
                             {{"n_shared_experts", 65536}, {"moe_intermediate_size", 1 << 24}})),
                {"n_shared_experts is 65536"});
}

TEST_CASE("names and values from the file cannot break or flood a message") {
  const std::string long_value(100000, 'x');
  CHECK(mistake(with(deepseek_v3_config(), {{"norm_topk_prob", long_value}})).size() < 500);
  CHECK(refusal(with(deepseek_v3_config(), {{"moe\nkey" + long_value, 1}})).size() < 500);
  CHECK(refusal(with(deepseek_v3_config(), {{"scoring_func", "a\nb" + long_value}})).size() < 500);
  const std::string type = "t\n" + long_value;
  CHECK(
      refusal(with(without(deepseek_v3_config(), "scoring_func"), {{"model_type", type}})).size() <
      500);
}

TEST_CASE("whatever a key holds, the answer is a valid layer or one error") {
  const json values[] = {nullptr,
                         true,
                         false,
                         0,
                         1,
                         -1,
                         7.5,
                         1e300,
                         INT64_MIN,
                         UINT64_MAX,
                         "",
                         "silu",
                         json::array(),
                         json::object(),
                         {1, "a", nullptr},
                         {{"weights", 3}},
                         {{"quant_method", {1}}, {"weight_block_size", "x"}}};
  std::vector<std::string> names = {"num_experts",
                                    "moe_topk",
                                    "num_shared_expert",
                                    "use_bias",
                                    "moe_gate",
                                    "mlp_layer_types",
                                    "moe_layer_freq",
                                    "text_config",
                                    "moe_layer_end_index",
                                    "use_routing_bias",
                                    "share_expert_dim",
                                    "swiglu_limits",
                                    "quantization_config",
                                    "expert_dtype",
                                    "dtype",
                                    "compression_config",
                                    "thinker_config",
                                    "mlp_only_layers"};
  const json base = deepseek_v3_config();
  for (const auto& [name, value] : base.items()) names.push_back(name);
  for (const std::string& name : names)
    for (const json& value : values) {
      CAPTURE(name);
      CAPTURE(value.dump());
      try {
        validate(import_json(with(base, {{name, value}})).layer);
      } catch (const Error& error) {
        CHECK(error.kind == ErrorKind::usage);
      }
    }
}

}  // namespace fse
