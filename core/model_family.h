#pragma once
#include <optional>
#include <span>
#include <string_view>

#include "core/layer_spec.h"

namespace fse {

// How the shared expert's weight follows from the model type.
enum class SharedRule {
  by_spelling,   // unknown type: counted experts are DeepSeek's convention, weight 1
  constant,      // weight 1
  sigmoid_gate,  // a learned gate per token
  unknown,       // no published layer of this type has one
};

// What `model_type` says where the config itself is silent. A stated key always wins, except where
// the model's code does not read it (`renormalize_fixed`).
struct Family {
  std::string_view model_type;  // "qwen*": every type that begins so; empty: an unknown type
  std::optional<ScoreFunction> score = std::nullopt;
  std::optional<bool> selection_bias = std::nullopt;
  std::optional<bool> renormalize = std::nullopt;
  bool renormalize_fixed = false;
  std::optional<GroupScore> group_score = std::nullopt;
  SharedRule shared = SharedRule::by_spelling;
  bool dense_width_is_expert_width = false;           // `intermediate_size` is the experts' width
  std::span<const std::string_view> must_state = {};  // silence means different things to readers
  std::string_view refusal = {};                      // why no layer of this type can be run
};

// The first row that matches; an unknown type gets a Family without answers.
const Family& family_of(std::string_view model_type);

}  // namespace fse
