#include "core/weights_names.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

#include "core/error.h"
#include "core/strict_json.h"

namespace fse {
namespace {

bool remove_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// ERNIE-4.5 keeps a row of biases for each modality, a text model one; Hunyuan-A13B's router is
// `gate.wg`.
constexpr std::string_view kErnieBias = "moe_statics.e_score_correction_bias";
constexpr std::string_view kHunyuanShared = "shared_mlp.";

// "gate_proj.weight" or Mixtral's "w1.weight", each also with "_scale_inv".
std::optional<Role> projection_role(std::string_view text) {
  static constexpr std::pair<std::string_view, Role> kProjections[] = {
      {"gate_proj.weight", Role::gate}, {"w1.weight", Role::gate},
      {"up_proj.weight", Role::up},     {"w3.weight", Role::up},
      {"down_proj.weight", Role::down}, {"w2.weight", Role::down}};
  for (const auto& [name, role] : kProjections) {
    if (text == name) return role;
    if (text == std::string(name) + "_scale_inv")
      return role == Role::gate ? Role::gate_scale
             : role == Role::up ? Role::up_scale
                                : Role::down_scale;
  }
  return std::nullopt;
}

// What the name behind "PREFIX." means; nothing where it means nothing to this layer.
std::optional<Target> parse_name(std::string_view text, const LayerSpec& layer) {
  const int experts = layer.routing.experts;
  if (text == "gate.weight" || text == "gate.wg.weight") return Target{Role::router};
  if (text == "gate.e_score_correction_bias" || text == "e_score_correction_bias" ||
      text == kErnieBias)
    return layer.routing.selection_bias ? std::optional(Target{Role::selection_bias})
                                        : std::nullopt;
  if (text == "shared_expert_gate.weight")
    return layer.gate_rows() > 0 ? std::optional(Target{Role::shared_gate}) : std::nullopt;
  int expert = experts;
  if (remove_prefix(text, "experts.")) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), expert);
    if (error != std::errc{} || expert < 0 || expert >= experts) return std::nullopt;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    if (!remove_prefix(text, ".")) return std::nullopt;
  } else if (!layer.has_shared() ||
             !(remove_prefix(text, "shared_expert.") || remove_prefix(text, "shared_experts.") ||
               remove_prefix(text, kHunyuanShared))) {
    return std::nullopt;
  }
  const std::optional<Role> role = projection_role(text);
  return role ? std::optional(Target{*role, expert}) : std::nullopt;
}

void add(LayerTensors& tensors, const Target& target, const NamedTensor& tensor) {
  const auto [at, added] = tensors.emplace(target, tensor);
  if (!added)
    fail_tensor(tensor, fmt::format("'{}' is the same weight, expected one of them",
                                    printable(at->second.name)));
}

// Rows [begin, begin + rows) of matrix `expert` of a stacked tensor [E, all rows, cols].
TensorView slice(const TensorView& stack, int64_t expert, int64_t begin, int64_t rows) {
  const int64_t cols = stack.shape[2];
  const auto row_bytes = static_cast<int64_t>(stack.bytes.size()) / stack.shape[0] / stack.shape[1];
  const int64_t first = expert * stack.shape[1] + begin;
  return {stack.dtype,
          {rows, cols},
          stack.bytes.subspan(static_cast<size_t>(first * row_bytes),
                              static_cast<size_t>(rows * row_bytes)),
          stack.file};
}

// Newer checkpoints stack all experts: gate_up_proj [E, 2I, H], gate rows first, down_proj
// [E, H, I]. fp8 was not published so.
bool add_stacked(LayerTensors& tensors, std::string_view text, const NamedTensor& t,
                 const LayerSpec& layer) {
  const int64_t experts = layer.routing.experts;
  const int64_t width = layer.intermediate;
  const bool down = text == "experts.down_proj";
  if (!down && text != "experts.gate_up_proj") return false;
  if (t.view.dtype == "F8_E4M3") fail_tensor(t, "dtype F8_E4M3, expected stacked BF16, F16 or F32");
  if (down)
    require_shape(t, {experts, layer.hidden, width});
  else
    require_shape(t, {experts, 2 * width, layer.hidden});
  for (int e = 0; e < experts; ++e) {
    const auto part = [&](Role role, int64_t begin, int64_t rows) {
      add(tensors, {role, e}, {t.name, slice(t.view, e, begin, rows)});
    };
    if (down) {
      part(Role::down, 0, layer.hidden);
    } else {
      part(Role::gate, 0, width);
      part(Role::up, width, width);
    }
  }
  return true;
}

// Prefixes of the MoE layers in a checkpoint: whatever has experts.
std::set<std::string> moe_layers(const Safetensors& st) {
  std::set<std::string> prefixes;
  for (const auto& [name, tensor] : st.tensors())
    if (const size_t at = name.find(".experts."); at != std::string::npos)
      prefixes.insert(name.substr(0, at));
  return prefixes;
}

std::string list_of(const std::set<std::string>& prefixes) {
  std::string list;
  for (const std::string& prefix : prefixes) list += (list.empty() ? "" : ", ") + prefix;
  return list.empty() ? "none" : list;
}

std::string find_prefix(const Safetensors& st, const std::string& wanted,
                        const std::string& where) {
  const std::set<std::string> layers = moe_layers(st);
  if (wanted.empty() && layers.size() == 1) return *layers.begin();
  if (wanted.empty())
    fail_data(
        fmt::format("{}: {} MoE layers, expected one, or its prefix (verify --layer PREFIX) of: {}",
                    where, layers.size(), list_of(layers)));
  if (layers.count(wanted) == 0)
    fail_data(fmt::format("{}: no MoE layer '{}'; there: {}", where, wanted, list_of(layers)));
  return wanted;
}

bool has_any_under(const LayerTensors& tensors, const std::string& prefix) {
  return std::any_of(tensors.begin(), tensors.end(),
                     [&](const auto& entry) { return entry.second.name.starts_with(prefix); });
}

// The name a missing tensor would have had, in the spelling its neighbours use.
std::string hub_name(const Target& target, const std::string& prefix, const LayerSpec& layer,
                     const LayerTensors& tensors) {
  const bool mixtral = prefix.ends_with("block_sparse_moe");
  const bool hunyuan = has_any_under(tensors, fmt::format("{}.{}", prefix, kHunyuanShared)) ||
                       has_any_under(tensors, prefix + ".gate.wg.");
  if (target.role == Role::router) return prefix + (hunyuan ? ".gate.wg.weight" : ".gate.weight");
  if (target.role == Role::shared_gate) return prefix + ".shared_expert_gate.weight";
  if (target.role == Role::selection_bias && layer.routing.score == ScoreFunction::softmax)
    return fmt::format("{}.{}", prefix, kErnieBias);  // no one else adds a bias to a softmax
  if (target.role == Role::selection_bias)
    return prefix + (mixtral ? ".e_score_correction_bias" : ".gate.e_score_correction_bias");
  const bool shared = target.expert == layer.routing.experts;
  const char* gate = mixtral && !shared ? "w1" : "gate_proj";
  const char* up = mixtral && !shared ? "w3" : "up_proj";
  const char* down = mixtral && !shared ? "w2" : "down_proj";
  const std::string owner = !shared                 ? fmt::format("experts.{}", target.expert)
                            : hunyuan               ? "shared_mlp"
                            : layer.gate_rows() > 0 ? "shared_expert"
                                                    : "shared_experts";
  return fmt::format("{}.{}.{}.weight", prefix, owner,
                     target.role == Role::gate ? gate
                     : target.role == Role::up ? up
                                               : down);
}

void require_complete(const LayerTensors& tensors, const std::string& prefix,
                      const LayerSpec& layer, const std::string& where) {
  const auto require = [&](const Target& target) {
    if (tensors.count(target) == 0)
      fail_data(fmt::format("{}: tensor '{}': missing, expected for {} experts, {}", where,
                            hub_name(target, prefix, layer, tensors), layer.routing.experts,
                            layer.has_shared() ? "shared expert" : "no shared expert"));
  };
  require({Role::router});
  if (layer.routing.selection_bias) require({Role::selection_bias});
  if (layer.gate_rows() > 0) require({Role::shared_gate});
  for (int e = 0; e < layer.routing.experts + layer.has_shared(); ++e)
    for (const Role role : {Role::gate, Role::up, Role::down}) require({role, e});
}

}  // namespace

LayerTensors map_tensors(const Safetensors& st, const std::string& wanted, const LayerSpec& layer,
                         const std::string& where) {
  const std::string prefix = find_prefix(st, wanted, where);
  LayerTensors tensors;
  for (const auto& [name, view] : st.tensors()) {
    std::string_view text = name;
    if (!remove_prefix(text, prefix + ".")) continue;
    NamedTensor tensor{name, view};
    if (text == kErnieBias) {
      require_shape(tensor, {1, layer.routing.experts});
      tensor.view.shape = {layer.routing.experts};
    }
    if (add_stacked(tensors, text, tensor, layer)) continue;
    const std::optional<Target> target = parse_name(text, layer);
    if (!target)
      fail_tensor(tensor, fmt::format("not part of this layer, expected {} experts, {} shared "
                                      "gate, {} selection bias, shared width {}",
                                      layer.routing.experts, layer.gate_rows() ? "a" : "no",
                                      layer.routing.selection_bias ? "a" : "no",
                                      layer.shared.shared_width));
    add(tensors, *target, tensor);
  }
  require_complete(tensors, prefix, layer, where);
  return tensors;
}

}  // namespace fse
