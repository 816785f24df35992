#pragma once
#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "core/model_import.h"
#include "tests/core/golden_layers.h"

namespace fse {

using nlohmann::json;

inline json deepseek_v3_config() {
  return json::parse(R"({"model_type": "deepseek_v3", "hidden_act": "silu", "hidden_size": 64,
    "intermediate_size": 256, "moe_intermediate_size": 32, "num_hidden_layers": 4,
    "n_routed_experts": 16, "n_shared_experts": 1, "num_experts_per_tok": 4, "n_group": 4,
    "topk_group": 2, "norm_topk_prob": true, "routed_scaling_factor": 2.5,
    "scoring_func": "sigmoid", "topk_method": "noaux_tc", "first_k_dense_replace": 1})");
}

inline json qwen3_next_config() {
  return json::parse(R"({"model_type": "qwen3_next", "hidden_act": "silu", "hidden_size": 64,
    "intermediate_size": 256, "moe_intermediate_size": 32, "num_hidden_layers": 6,
    "num_experts": 16, "num_experts_per_tok": 4, "norm_topk_prob": true,
    "shared_expert_intermediate_size": 32})");
}

// null removes nothing: it is what a config may hold, and must mean the same as absence.
inline json with(json config, const json& changes) {
  config.update(changes);
  return config;
}

inline json without(json config, const std::string& key) {
  config.erase(key);
  return config;
}

inline ModelConfig import_text(const std::string& text) {
  const test::TemporaryFolder dir;
  std::ofstream(dir.path() / "config.json", std::ios::binary) << text;
  return import_config(dir.path() / "config.json");
}

inline ModelConfig import_json(const json& config) {
  return import_text(config.dump());
}

// The message of the Error(usage) that importing `config` must end in.
inline std::string usage_error(auto&& action) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::usage);
    return error.what();
  }
  FAIL("expected an error");
  return "";
}

// Refused: "refused: FILE: key: reason", on one line.
inline std::string refusal(const json& config) {
  CAPTURE(config.dump());
  const std::string message = usage_error([&] { import_json(config); });
  CHECK(message.starts_with("refused: "));
  CHECK(message.find('\n') == std::string::npos);
  return message;
}

// A mistake in the file, not a layer that is not implemented.
inline std::string mistake(const json& config) {
  CAPTURE(config.dump());
  const std::string message = usage_error([&] { import_json(config); });
  CHECK_FALSE(message.starts_with("refused: "));
  return message;
}

}  // namespace fse
