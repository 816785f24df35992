#pragma once
#include <array>
#include <string_view>

namespace fse::keys {

// The spellings that published config.json files use, one array for each fact. What no array here
// holds is either in the lists of moe_config_refusals.cpp or unknown, and then refused where it
// concerns experts.
template <class... Names>
constexpr auto spellings(Names... names) {
  return std::array<std::string_view, sizeof...(Names)>{names...};
}

inline constexpr auto kModelType = spellings("model_type");
inline constexpr auto kHidden = spellings("hidden_size");
inline constexpr auto kNumLayers = spellings("num_hidden_layers");
inline constexpr auto kActivation =
    spellings("hidden_act", "mlp_hidden_act", "hidden_activation", "moe_hidden_act");

inline constexpr auto kExperts =
    spellings("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts");
inline constexpr auto kTopK = spellings("num_experts_per_tok", "num_experts_per_token",
                                        "experts_per_token", "top_k_experts", "moe_k", "moe_topk");
inline constexpr auto kWidth = spellings("moe_intermediate_size");
inline constexpr auto kDenseWidth = spellings("intermediate_size");

inline constexpr auto kScore =
    spellings("scoring_func", "score_function", "moe_router_activation_func", "moe_gate_act");
inline constexpr auto kMethod = spellings("topk_method");
inline constexpr auto kBias = spellings("use_routing_bias", "moe_use_aux_free");
inline constexpr auto kGroups = spellings("n_group", "num_expert_group");
inline constexpr auto kGroupsKept = spellings("topk_group");
inline constexpr auto kRenormalize =
    spellings("norm_topk_prob", "moe_renormalize", "moe_norm_gate_logits");
inline constexpr auto kScaling = spellings("routed_scaling_factor", "moe_router_scaling_factor");

inline constexpr auto kSharedCount = spellings("n_shared_experts", "num_shared_experts",
                                               "moe_num_shared_experts", "num_shared_expert");
inline constexpr auto kSharedWidth =
    spellings("shared_expert_intermediate_size", "shared_intermediate_size", "share_expert_dim",
              "moe_shared_expert_intermediate_size");

inline constexpr auto kFirstMoe = spellings("first_k_dense_replace", "moe_layer_num_skipped");
inline constexpr auto kStart = spellings("moe_layer_start_index");
inline constexpr auto kEnd = spellings("moe_layer_end_index");
// (layer + 1) % step == 0 has experts.
inline constexpr auto kStep =
    spellings("decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_interval");
inline constexpr auto kFrequency = spellings("moe_layer_freq");  // layer % frequency == 0, or 0/1s
inline constexpr auto kDenseList = spellings("mlp_only_layers");
inline constexpr auto kLayerKinds = spellings("mlp_layer_types");

}  // namespace fse::keys
