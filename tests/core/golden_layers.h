#pragma once
#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <initializer_list>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/layer_spec.h"
#include "tests/temporary_folder.h"

namespace fse {

inline std::filesystem::path golden_dir(const std::string& folder) {
  return std::filesystem::path(FSELAB_SOURCE_DIR) / "tests/golden" / folder;
}

struct GoldenLayer {
  std::string folder;
  LayerSpec layer;
  bool fp8 = false;  // the checkpoint's own format; bf16 otherwise
};

// The layers of tests/golden, written out by hand so that weights are tested without the importer.
inline std::vector<GoldenLayer> golden_layers() {
  const auto layer = [](int hidden, int intermediate, RoutingSpec routing, SharedSpec shared) {
    LayerSpec spec;
    spec.hidden = hidden;
    spec.intermediate = intermediate;
    spec.routing = routing;
    spec.shared = shared;
    return spec;
  };
  const auto softmax = [](int experts, int top_k, bool renormalize) {
    RoutingSpec r;
    r.experts = experts;
    r.top_k = top_k;
    r.renormalize = renormalize;
    return r;
  };
  const auto sigmoid = [](int experts, int top_k, int groups, int groups_kept) {
    RoutingSpec r;
    r.experts = experts;
    r.top_k = top_k;
    r.score = ScoreFunction::sigmoid;
    r.selection_bias = true;
    r.groups = groups;
    r.groups_kept = groups_kept;
    r.group_score = GroupScore::sum_of_top2;
    r.renormalize = true;
    r.scaling = 2.5;
    return r;
  };
  const SharedSpec none;
  const auto gated = [](int width) { return SharedSpec{1, width, SharedWeight::sigmoid_gate, 1}; };
  const auto plain = [](int count, int width) {
    return SharedSpec{count, width, SharedWeight::constant, 1};
  };
  return {
      {"qwen3_next", layer(64, 32, softmax(16, 4, true), gated(32))},
      {"qwen2_moe", layer(64, 24, softmax(12, 3, false), gated(96))},
      {"qwen3_moe", layer(64, 32, softmax(16, 4, true), none)},
      {"deepseek_v2", layer(64, 32, softmax(16, 4, false), plain(2, 64))},
      {"deepseek_v3", layer(64, 32, sigmoid(16, 4, 4, 2), plain(1, 32))},
      {"glm4_moe", layer(80, 48, sigmoid(10, 3, 1, 1), plain(1, 48))},
      {"qwen3_next_fp8", layer(256, 128, softmax(8, 3, true), gated(128)), true},
      {"glm4_moe_fp8_ragged", layer(320, 192, sigmoid(6, 2, 1, 1), plain(1, 192)), true},
  };
}

inline LayerSpec golden_layer(const std::string& folder, DType dtype) {
  for (GoldenLayer golden : golden_layers())
    if (golden.folder == folder) {
      golden.layer.dtype = dtype;
      return golden.layer;
    }
  throw std::logic_error("no golden layer " + folder);
}

// The message of the Error(data) that must come.
std::string data_error(auto&& action) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::data);
    return error.what();
  }
  FAIL("expected an error");
  return "";
}

inline void check_message(const std::string& message, std::initializer_list<std::string> parts) {
  CAPTURE(message);
  for (const std::string& part : parts) {
    CAPTURE(part);
    CHECK(message.find(part) != std::string::npos);
  }
}

}  // namespace fse
