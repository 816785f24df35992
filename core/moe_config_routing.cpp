#include <fmt/format.h>

#include "core/config_keys.h"
#include "core/error.h"
#include "core/moe_config.h"

namespace fse {
namespace {

// What neither the config nor its model type says cannot be guessed.
[[noreturn]] void refuse_silence(const MoeConfig& config, Keys keys, std::string_view expected) {
  const std::string type = config.model_type.empty()
                               ? "an absent model_type"
                               : fmt::format("model_type {}", shown(config.model_type));
  refuse(config.object, keys.front(),
         fmt::format("is absent, and {} does not say: expected {}", type, expected));
}

std::optional<std::string> method_of(const MoeConfig& config) {
  return find_string(config.object, keys::kMethod);
}

ScoreFunction read_score(const MoeConfig& config) {
  // Names that are not implemented were refused before.
  if (const auto name = find_string(config.object, keys::kScore))
    return from_name<ScoreFunction>(*name).value();
  if (!config.family.score) refuse_silence(config, keys::kScore, all_names<ScoreFunction>());
  return *config.family.score;
}

bool read_selection_bias(const MoeConfig& config) {
  const auto method = method_of(config);
  const auto stated = find_bool(config.object, keys::kBias);
  if (method && stated && *stated != (*method == "noaux_tc"))
    fail_usage(fmt::format("{}: {}topk_method is {}, but {} is {}: they contradict each other",
                           config.object.file, config.object.prefix, *method,
                           find_stated(config.object, keys::kBias)->key, *stated));
  if (stated) return *stated;
  if (method) return *method == "noaux_tc";
  if (!config.family.selection_bias)
    refuse_silence(config, keys::kMethod, "greedy, group_limited_greedy or noaux_tc");
  return *config.family.selection_bias;
}

// Some configs write "no groups" as false.
std::optional<int> find_groups(const MoeConfig& config, Keys keys) {
  const auto stated = find_stated(config.object, keys);
  if (!stated || *stated->value == false) return std::nullopt;
  return checked_int(config.object, stated->key, *stated->value, 1, kMostExperts);
}

GroupScore read_group_score(const MoeConfig& config) {
  const auto method = method_of(config);
  if (method) return *method == "noaux_tc" ? GroupScore::sum_of_top2 : GroupScore::max;
  if (!config.family.group_score)
    refuse_silence(config, keys::kMethod, "greedy, group_limited_greedy or noaux_tc");
  return *config.family.group_score;
}

void read_groups(const MoeConfig& config, RoutingSpec& routing) {
  const auto groups = find_groups(config, keys::kGroups);
  const auto kept = find_groups(config, keys::kGroupsKept);
  const bool limited = method_of(config) == "group_limited_greedy";
  if (method_of(config) == "greedy") return;
  if (!groups && (limited || kept.value_or(1) > 1))
    refuse_silence(config, keys::kGroups, "the number of groups");
  if (groups.value_or(1) > 1 && !kept)
    refuse_silence(config, keys::kGroupsKept, "the number of groups kept");
  routing.groups = groups.value_or(1);
  routing.groups_kept = kept.value_or(1);
  if (routing.groups == 1) return;
  routing.group_score = read_group_score(config);
  if (routing.group_score == GroupScore::sum_of_top2 && routing.experts < 2 * routing.groups)
    fail_value(config.object, find_stated(config.object, keys::kGroups)->key, routing.groups,
               fmt::format("groups of at least two of the {} experts", routing.experts));
}

bool read_renormalize(const MoeConfig& config, int top_k) {
  std::optional<bool> implied = config.family.renormalize;
  if (config.model_type == "hunyuan_v1_moe" && top_k == 1) implied = false;
  const auto stated = find_bool(config.object, keys::kRenormalize);
  if (!stated && !implied) refuse_silence(config, keys::kRenormalize, "true or false");
  if (stated && config.family.renormalize_fixed && *stated != *implied)
    refuse(config.object, find_stated(config.object, keys::kRenormalize)->key,
           fmt::format("is {}, but layers of model_type {} with top_k {} always do {}", *stated,
                       config.model_type, top_k, *implied ? "renormalise" : "without"));
  return stated ? *stated : *implied;
}

void check_stated(const MoeConfig& config) {
  // Without groups, how many there are does not matter.
  const bool greedy = method_of(config) == "greedy";
  for (const std::string_view& key : config.family.must_state) {
    const bool about_groups = key == keys::kGroups.front() || key == keys::kGroupsKept.front();
    if (find_stated(config.object, {&key, 1}) || (greedy && about_groups)) continue;
    refuse(config.object, key,
           fmt::format("is absent, and readers of {} configs disagree on what that means: state it",
                       config.model_type));
  }
}

// What validate() asks of every layer, in the config's own words.
void check_counts(const MoeConfig& config, const RoutingSpec& r) {
  const auto key = [&](Keys keys) {
    const auto stated = find_stated(config.object, keys);
    return stated ? stated->key : keys.front();
  };
  const auto expect = [&](bool holds, Keys keys, int value, const std::string& expected) {
    if (!holds) fail_value(config.object, key(keys), value, expected);
  };
  expect(r.top_k <= r.experts, keys::kTopK, r.top_k,
         fmt::format("1 to {} = {}", key(keys::kExperts), r.experts));
  expect(r.experts % r.groups == 0, keys::kGroups, r.groups,
         fmt::format("a divisor of {} = {}", key(keys::kExperts), r.experts));
  expect(r.groups_kept <= r.groups, keys::kGroupsKept, r.groups_kept,
         fmt::format("1 to {} = {}", key(keys::kGroups), r.groups));
  const int selectable = r.experts / r.groups * r.groups_kept;
  expect(r.top_k <= selectable, keys::kTopK, r.top_k,
         fmt::format("at most the {} experts of {} = {} groups", selectable, key(keys::kGroupsKept),
                     r.groups_kept));
}

}  // namespace

RoutingSpec read_routing(const MoeConfig& config) {
  check_stated(config);
  RoutingSpec routing;
  const auto experts = find_uniform_int(config, keys::kExperts, 1, kMostExperts);
  const auto top_k = find_uniform_int(config, keys::kTopK, 1, kMostExperts);
  if (!experts) fail_missing(config.object, keys::kExperts, "the number of routed experts");
  if (!top_k) fail_missing(config.object, keys::kTopK, "the number of routed experts per token");
  routing.experts = *experts;
  routing.top_k = *top_k;
  routing.score = read_score(config);
  routing.selection_bias = read_selection_bias(config);
  read_groups(config, routing);
  check_counts(config, routing);
  routing.renormalize = read_renormalize(config, routing.top_k);
  routing.scaling = find_positive(config.object, keys::kScaling).value_or(1.0);
  // DeepSeek's own code scales only what it does not renormalise; other readers always scale.
  if (config.model_type == "deepseek_v2" && routing.renormalize && routing.scaling != 1)
    refuse(config.object, keys::kRenormalize.front(),
           fmt::format("is true beside routed_scaling_factor {}: readers of deepseek_v2 configs "
                       "disagree on what that means",
                       routing.scaling));
  return routing;
}

}  // namespace fse
