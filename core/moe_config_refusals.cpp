#include <fmt/format.h>

#include <algorithm>

#include "core/config_keys.h"
#include "core/moe_config.h"
#include "core/strict_json.h"

namespace fse {
namespace {

using nlohmann::json;

struct RefusedKey {
  std::string_view key;
  std::string_view reason;
};

// Refused unless null, false, 0 or empty.
constexpr RefusedKey kNotImplemented[] = {
    {"swiglu_limit", "a clamped activation is not implemented"},
    {"swiglu_limits", "a clamped activation is not implemented"},
    {"swiglu_limit_shared", "a clamped activation is not implemented"},
    {"swiglu_limits_shared", "a clamped activation is not implemented"},
    {"swiglu_alpha", "an activation other than silu(gate) * up is not implemented"},
    {"swiglu_beta", "an activation other than silu(gate) * up is not implemented"},
    {"moe_latent_size", "experts in a latent space are not implemented"},
    {"routed_expert_hidden_size", "experts in a latent space are not implemented"},
    {"num_hash_layers", "layers routed by a hash of the token are not implemented"},
    {"n_hash_layers", "layers routed by a hash of the token are not implemented"},
    {"apply_router_weight_on_input", "a weight on the expert's input is not implemented"},
    {"moe_apply_router_weight_on_input", "a weight on the expert's input is not implemented"},
    {"moe_drop_tokens", "experts that drop tokens are not implemented"},
    {"moe_random_routing_dropped_token", "experts that drop tokens are not implemented"},
    {"moe_reverse_token_drop", "experts that drop tokens are not implemented"},
    {"moe_group_experts", "scores normalised within groups are not implemented"},
    {"moe_use_hard_gate", "routing by token type is not implemented"},
    {"group_limited_greedy", "group-limited routing stated this way is not implemented"},
    {"mlp_bias", "experts with a bias are not implemented"},
    {"zero_expert_num", "experts without weights are not implemented"},
};

struct ExpectedValue {
  std::string_view key;
  std::string_view value;  // as JSON
};

constexpr ExpectedValue kExpected[] = {{"moe_gate", "\"topk\""},
                                       {"use_mixed_mlp_moe", "true"},
                                       {"use_moe", "true"},
                                       {"use_grouped_topk", "true"}};

// Concern experts by their name, but not what a layer computes at inference: training losses,
// placement, logging, storage, layers beyond the model.
constexpr std::string_view kWithoutEffect[] = {
    "aux_loss_alpha",
    "expert_capacity",
    "expert_dtype",
    "expert_parallel_size",
    "moe_all_to_all_dropout",
    "moe_aux_loss_coeff",
    "moe_aux_loss_lambda",
    "moe_capacity",
    "moe_capacity_factor",
    "moe_dropout_prob",
    "moe_ep_size",
    "moe_group",
    "moe_group_orthogonal_loss",
    "moe_grouped_gemm",
    "moe_norm_min",
    "moe_orthogonal_loss_lambda",
    "moe_permute_fusion",
    "moe_router_bias_update_rate",
    "moe_router_dtype",
    "moe_router_load_balancing_type",
    "moe_shared_expert_overlap",
    "moe_token_dispatcher_type",
    "moe_z_loss_lambda",
    "output_router_logits",
    "router_aux_loss_coef",
    "router_dtype",
    "router_jitter_noise",
    "router_z_loss_coef",
};

constexpr std::string_view kConcern[] = {
    "moe",    "expert",     "router",     "routed",  "routing",    "topk",
    "swiglu", "hash_layer", "score_func", "scoring", "shared_mlp", "shared_intermediate_size"};

template <size_t N>
bool among(std::string_view key, const std::array<std::string_view, N>& list) {
  return std::find(list.begin(), list.end(), key) != list.end();
}

bool is_read(std::string_view key) {
  using namespace keys;
  return among(key, kExperts) || among(key, kTopK) || among(key, kWidth) || among(key, kScore) ||
         among(key, kMethod) || among(key, kBias) || among(key, kGroups) ||
         among(key, kGroupsKept) || among(key, kRenormalize) || among(key, kScaling) ||
         among(key, kSharedCount) || among(key, kSharedWidth) || among(key, kFirstMoe) ||
         among(key, kStart) || among(key, kEnd) || among(key, kStep) || among(key, kFrequency);
}

bool is_listed(std::string_view key) {
  const auto has_key = [key](const auto& row) { return row.key == key; };
  return std::any_of(std::begin(kNotImplemented), std::end(kNotImplemented), has_key) ||
         std::any_of(std::begin(kExpected), std::end(kExpected), has_key);
}

bool is_without_effect(std::string_view key) {
  return std::find(std::begin(kWithoutEffect), std::end(kWithoutEffect), key) !=
         std::end(kWithoutEffect);
}

bool concerns_experts(std::string key) {
  for (char& c : key) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  if (key.starts_with("index_topk")) return false;  // sparse attention
  return std::any_of(std::begin(kConcern), std::end(kConcern),
                     [&](std::string_view word) { return key.find(word) != std::string::npos; });
}

bool is_off(const json& value) {
  if (value.is_null() || value == false || value == "") return true;
  if (value.is_number()) return value == 0;
  if (value.is_array()) return std::all_of(value.begin(), value.end(), is_off);
  return value.is_object() && value.empty();
}

using Reasons = std::vector<std::string>;

void check_known_keys(const MoeConfig& config, Reasons& reasons) {
  const auto add = [&](std::string_view key, std::string_view reason) {
    reasons.push_back(fmt::format("{}{}: {}", config.object.prefix, key, reason));
  };
  const json& values = config.object.json;
  for (const auto& [key, reason] : kNotImplemented)
    if (values.contains(key) && !is_off(values.at(std::string(key)))) add(key, reason);
  for (const auto& [key, expected] : kExpected) {
    const auto stated = find_stated(config.object, {&key, 1});
    if (stated && *stated->value != json::parse(expected))
      add(key, fmt::format("is {}, but only {} is implemented", shown(*stated->value), expected));
  }
  // Elsewhere `use_bias` speaks of attention; ERNIE gives it to every projection.
  if (config.model_type == "ernie4_5_moe" && values.contains("use_bias") &&
      !is_off(values.at("use_bias")))
    add("use_bias", "experts with a bias are not implemented");
}

void check_values(const MoeConfig& config, Reasons& reasons) {
  const auto add = [&](const Stated& stated, std::string_view expected) {
    reasons.push_back(fmt::format("{}{}: {} is not implemented, expected {}", config.object.prefix,
                                  stated.key, shown(*stated.value), expected));
  };
  for (const std::string_view& key : keys::kActivation) {
    const auto stated = find_stated(config.object, {&key, 1});
    if (stated && *stated->value != "silu" && *stated->value != "swish" &&
        *stated->value != "swiglu")
      add(*stated, "silu");
  }
  const auto score = find_stated(config.object, keys::kScore);
  if (score && score->value->is_string() && !from_name<ScoreFunction>(std::string(*score->value)))
    add(*score, all_names<ScoreFunction>());
  const auto method = find_stated(config.object, keys::kMethod);
  if (method && method->value->is_string() && *method->value != "greedy" &&
      *method->value != "group_limited_greedy" && *method->value != "noaux_tc")
    add(*method, "greedy, group_limited_greedy or noaux_tc");
}

// Never run approximately: a key that concerns experts and is not known here could change the
// layer's arithmetic.
void check_unknown_keys(const MoeConfig& config, Reasons& reasons) {
  for (const auto& [key, value] : config.object.json.items()) {
    if (value.is_null() || !concerns_experts(key)) continue;
    if (is_read(key) || is_listed(key) || is_without_effect(key)) continue;
    reasons.push_back(fmt::format("{}{}: is not known, and could change what the experts compute",
                                  config.object.prefix, printable(key)));
  }
}

void check_outer_keys(const MoeConfig& config, Reasons& reasons) {
  if (config.object.prefix.empty()) return;
  for (const auto& [key, value] : config.root.json.items()) {
    if (is_off(value) || !concerns_experts(key) || is_without_effect(key)) continue;
    const auto inner = config.object.json.find(key);
    if (inner != config.object.json.end() && *inner == value) continue;
    reasons.push_back(fmt::format("{}: is {} here, but not in {}", printable(key), shown(value),
                                  config.object.prefix.substr(0, config.object.prefix.size() - 1)));
  }
}

}  // namespace

std::vector<std::string> refusals(const MoeConfig& config) {
  Reasons reasons;
  if (!config.family.refusal.empty())
    reasons.push_back(fmt::format("{}model_type: {}: {}", config.object.prefix, config.model_type,
                                  config.family.refusal));
  check_values(config, reasons);
  check_known_keys(config, reasons);
  check_unknown_keys(config, reasons);
  check_outer_keys(config, reasons);
  return reasons;
}

}  // namespace fse
