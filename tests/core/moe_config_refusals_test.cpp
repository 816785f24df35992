#include "tests/core/config_fixture.h"

namespace fse {

TEST_CASE("semantics that are not implemented are refused with their key") {
  const std::pair<const char*, json> cases[] = {
      {"scoring_func", "sqrtsoftplus"},
      {"topk_method", "aux_tc"},
      {"hidden_act", "relu2"},
      {"mlp_hidden_act", "relu2"},
      {"hidden_act", "gelu"},
      {"moe_latent_size", 1024},
      {"routed_expert_hidden_size", 3584},
      {"swiglu_limit", 7.0},
      {"swiglu_limits", {0, 0, 7, 7}},
      {"swiglu_alpha", 1.702},
      {"num_hash_layers", 3},
      {"apply_router_weight_on_input", true},
      {"moe_drop_tokens", true},
      {"mlp_bias", true},
      {"zero_expert_num", 128},
      {"moe_gate", "top2_fused"},
      {"use_mixed_mlp_moe", false},
  };
  for (const auto& [key, value] : cases) {
    CAPTURE(key);
    const json changed = with(deepseek_v3_config(), {{key, value}});
    check_message(refusal(changed), {"config.json: " + std::string(key) + ": "});
    // The same inside a multimodal config.
    check_message(refusal({{"text_config", changed}}), {"text_config." + std::string(key) + ": "});
  }
}

TEST_CASE("the same keys switched off refuse nothing") {
  const json off = {{"moe_latent_size", 0},
                    {"swiglu_limit", 0.0},
                    {"num_hash_layers", 0},
                    {"swiglu_limits", {0, 0, 0}},
                    {"mlp_bias", false},
                    {"moe_drop_tokens", false},
                    {"apply_router_weight_on_input", false},
                    {"zero_expert_num", 0}};
  CHECK_NOTHROW(import_json(with(deepseek_v3_config(), off)));
}

TEST_CASE("every reason is in the one line") {
  const json config =
      with(deepseek_v3_config(),
           {{"scoring_func", "sqrtsoftplus"}, {"swiglu_limit", 10.0}, {"num_hash_layers", 3}});
  check_message(refusal(config), {"scoring_func: ", "; swiglu_limit: ", "num_hash_layers: "});
}

TEST_CASE("Llama 4 and gpt-oss are refused by their model type") {
  const json experts = {{"hidden_size", 64},        {"intermediate_size", 64},
                        {"num_hidden_layers", 2},   {"num_local_experts", 16},
                        {"num_experts_per_tok", 1}, {"hidden_act", "silu"}};
  const json llama4 = {{"model_type", "llama4"},
                       {"text_config", with(experts, {{"model_type", "llama4_text"}})}};
  check_message(refusal(llama4), {"text_config.model_type: llama4_text: ", "input"});
  check_message(refusal(with(experts, {{"model_type", "gpt_oss"}, {"swiglu_limit", 7.0}})),
                {"model_type: gpt_oss: ", "router bias", "swiglu_limit: "});
}

TEST_CASE("an unknown key that concerns experts is refused, any other is not") {
  for (const char* key : {"moe_router_temperature", "expert_bias", "use_router_norm",
                          "num_zero_experts", "routed_weight_power", "shared_expert_scale",
                          "dynamic_topk", "MoE_mode", "use_grouped_topk"}) {
    CAPTURE(key);
    check_message(refusal(with(deepseek_v3_config(), {{key, false}})), {std::string(key) + ": "});
  }
  const json others = {{"rope_theta", 1e4},
                       {"index_topk", 2048},
                       {"ep_size", 1},
                       {"num_nextn_predict_layers", 1},
                       {"aux_loss_alpha", 0.001},
                       {"seq_aux", true},
                       {"router_aux_loss_coef", 0.001},
                       {"top_k", 50},
                       {"output_router_logits", true},
                       {"tie_word_embeddings", 5},
                       {"num_kv_shared_layers", 3},
                       {"attention_bias", "yes"},
                       {"router_jitter_noise", 0.1},
                       {"vocab_size", "many"}};
  CHECK_NOTHROW(import_json(with(deepseek_v3_config(), others)));
}

TEST_CASE("a key outside text_config that concerns experts is not overlooked") {
  const json nested = {{"model_type", "kimi_k25"}, {"text_config", deepseek_v3_config()}};
  CHECK_NOTHROW(import_json(with(nested, {{"n_routed_experts", 16}})));
  CHECK_NOTHROW(import_json(with(nested, {{"router_aux_loss_coef", 0.1}})));
  check_message(refusal(with(nested, {{"norm_topk_prob", false}, {"moe_latent_size", 32}})),
                {"moe_latent_size: is 32 here, but not in text_config"});
  check_message(refusal(with(nested, {{"n_routed_experts", 32}})), {"n_routed_experts: is 32"});
}

TEST_CASE("an unknown model type has to state every semantic") {
  const json complete = with(deepseek_v3_config(), {{"model_type", "tomorrow_moe"}});
  const LayerSpec layer = import_json(complete).layer;
  CHECK(layer.routing.selection_bias);
  CHECK(layer.shared.weight == SharedWeight::constant);
  for (const char* key : {"scoring_func", "topk_method", "norm_topk_prob", "hidden_act"}) {
    CAPTURE(key);
    check_message(refusal(without(complete, key)), {std::string(key) + ": is absent"});
  }
  check_message(refusal(without(without(complete, "model_type"), "scoring_func")),
                {"scoring_func: is absent, and an absent model_type does not say"});
  CHECK(import_json(with(complete, {{"share_expert_dim", 48}})).layer.shared.shared_width == 48);
  // A width alone does not say whether the shared expert is gated.
  check_message(refusal(with(without(complete, "n_shared_experts"),
                             {{"shared_expert_intermediate_size", 32}})),
                {"shared_expert_intermediate_size: whether", "tomorrow_moe"});
  check_message(refusal(with(qwen3_next_config(), {{"model_type", "qwen9_moe"}})), {"qwen9_moe"});
}

TEST_CASE("silence that readers understand differently is refused") {
  for (const char* key : {"n_group", "topk_group", "routed_scaling_factor"})
    check_message(refusal(without(deepseek_v3_config(), key)), {std::string(key) + ": is absent"});
  const json v2 = with(deepseek_v3_config(), {{"model_type", "deepseek_v2"},
                                              {"scoring_func", "softmax"},
                                              {"topk_method", "group_limited_greedy"}});
  check_message(refusal(v2), {"norm_topk_prob: is true beside routed_scaling_factor 2.5"});
  CHECK(import_json(with(v2, {{"norm_topk_prob", false}})).layer.routing.scaling == 2.5);
  check_message(refusal(without(with(v2, {{"norm_topk_prob", false}}), "topk_method")),
                {"topk_method: is absent"});
  check_message(
      refusal(with(deepseek_v3_config(), {{"n_shared_experts", 2}, {"share_expert_dim", 32}})),
      {"share_expert_dim: is 32 beside 2 shared experts"});
  check_message(refusal(with(qwen3_next_config(), {{"model_type", "qwen3_moe"}})),
                {"shared_expert_intermediate_size: whether", "qwen3_moe"});
}

}  // namespace fse
