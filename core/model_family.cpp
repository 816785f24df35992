#include "core/model_family.h"

#include "core/config_keys.h"

namespace fse {
namespace {

// transformers' classes default to 8 groups of which 4, and scaling 2.5; serving engines read an
// absent key as 1.
constexpr auto kDeepseekStates = keys::spellings("n_group", "topk_group", "routed_scaling_factor");
constexpr auto kScalingStated = keys::spellings("routed_scaling_factor");

// Sigmoid scores, a selection-only bias, weights renormalised and then scaled.
constexpr Family deepseek_v3_like(std::string_view model_type,
                                  std::span<const std::string_view> must_state) {
  return {.model_type = model_type,
          .score = ScoreFunction::sigmoid,
          .selection_bias = true,
          .renormalize = true,
          .group_score = GroupScore::sum_of_top2,
          .shared = SharedRule::constant,
          .must_state = must_state};
}

constexpr Family softmax(std::string_view model_type, std::optional<bool> renormalize,
                         SharedRule shared) {
  return {.model_type = model_type,
          .score = ScoreFunction::softmax,
          .selection_bias = false,
          .renormalize = renormalize,
          .shared = shared};
}

constexpr Family refused(std::string_view model_type, std::string_view reason) {
  return {.model_type = model_type, .refusal = reason};
}

constexpr std::string_view kLlama4 =
    "the routed weight is a sigmoid applied to the expert's input, which is not implemented";
constexpr std::string_view kGptOss =
    "top-k before softmax with a router bias, biased experts and a clamped activation are not "
    "implemented";

constexpr Family kFamilies[] = {
    softmax("qwen2_moe", false, SharedRule::sigmoid_gate),
    softmax("qwen3_moe", false, SharedRule::unknown),
    softmax("qwen3_next", true, SharedRule::sigmoid_gate),
    softmax("qwen3_5*", true, SharedRule::sigmoid_gate),
    softmax("qwen*", std::nullopt, SharedRule::unknown),
    softmax("deepseek_v2", false, SharedRule::constant),
    deepseek_v3_like("deepseek_v3", kDeepseekStates),
    deepseek_v3_like("deepseek_v32", kDeepseekStates),
    deepseek_v3_like("kimi_k2", kScalingStated),
    deepseek_v3_like("kimi_k25", kScalingStated),
    deepseek_v3_like("glm4_moe", {}),
    deepseek_v3_like("glm4_moe_lite", kScalingStated),
    deepseek_v3_like("glm_moe_dsa", kScalingStated),
    deepseek_v3_like("dots1", {}),
    {.model_type = "mixtral",
     .score = ScoreFunction::softmax,
     .selection_bias = false,
     .renormalize = true,
     .renormalize_fixed = true,
     .shared = SharedRule::unknown,
     .dense_width_is_expert_width = true},
    {.model_type = "minimax_m2",
     .score = ScoreFunction::sigmoid,
     .selection_bias = true,
     .renormalize = true,
     .renormalize_fixed = true,
     .shared = SharedRule::unknown,
     .dense_width_is_expert_width = true},
    {.model_type = "ernie4_5_moe",
     .score = ScoreFunction::softmax,
     .selection_bias = true,
     .renormalize = true,
     .renormalize_fixed = true,
     .shared = SharedRule::constant},
    {.model_type = "hunyuan_v1_moe",
     .score = ScoreFunction::softmax,
     .selection_bias = false,
     .renormalize = true,
     .renormalize_fixed = true,
     .shared = SharedRule::constant,
     .dense_width_is_expert_width = true},
    refused("llama4*", kLlama4),
    refused("gpt_oss", kGptOss),
};

bool matches(std::string_view pattern, std::string_view model_type) {
  if (!pattern.ends_with('*')) return pattern == model_type;
  return model_type.starts_with(pattern.substr(0, pattern.size() - 1));
}

constexpr Family kUnknown{};

}  // namespace

const Family& family_of(std::string_view model_type) {
  for (const Family& family : kFamilies)
    if (matches(family.model_type, model_type)) return family;
  return kUnknown;
}

}  // namespace fse
