#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "tests/core/golden_checkpoint.h"

namespace fse {
namespace {

constexpr DType kAllDTypes[] = {DType::f32, DType::bf16, DType::f16, DType::fp8_block128};

TEST_CASE("the layer must be named where there are several") {
  const LayerSpec layer = golden_layer("qwen3_moe", DType::bf16);
  Checkpoint two("qwen3_moe");
  for (const TensorData& t : std::vector<TensorData>(two.tensors)) {
    two.tensors.push_back(t);
    two.tensors.back().name.replace(0, kPrefix.size(), "mtp.layers.0.mlp.");
  }
  two.write();
  check_message(data_error([&] { load(layer, two.dir.path()); }),
                {two.dir.path().string(), "2 MoE layers", "model.layers.0.mlp, mtp.layers.0.mlp"});
  check_message(data_error([&] { load(layer, two.dir.path(), "model.layers.1.mlp"); }),
                {"no MoE layer 'model.layers.1.mlp'", "model.layers.0.mlp"});
  CHECK(gate_matrix(load(layer, two.dir.path(), "mtp.layers.0.mlp"), 0).rows() == 32);
}

// What loading says after a change to a golden checkpoint.
std::string complaint(const std::string& folder, DType dtype, auto&& change) {
  Checkpoint changed(folder);
  change(changed);
  const LayerSpec layer = golden_layer(folder, dtype);
  const std::string file = changed.write().string();
  const std::string message = data_error([&] { load(layer, file); });
  check_message(message, {file});
  return message;
}

TEST_CASE("missing, unknown and double tensors are named") {
  const auto says = [](auto&& change, std::initializer_list<std::string> parts) {
    check_message(complaint("qwen3_next", DType::bf16, change), parts);
  };
  for (const std::string tail : {"gate.weight", "shared_expert_gate.weight",
                                 "experts.15.down_proj.weight", "shared_expert.up_proj.weight"})
    says([&](Checkpoint& c) { c.erase(tail); }, {"tensor '" + kPrefix + tail + "': missing"});
  for (const std::string tail :
       {"gate.bias", "experts.16.up_proj.weight", "experts.0.up_proj.bias", "experts.x.w1.weight",
        "experts.-1.w1.weight", "gate.e_score_correction_bias", "experts.up_proj", "other",
        "experts.99999999999.w1.weight", "experts.3"})
    says([&](Checkpoint& c) { c.add(tail, c.at("gate.weight")); },
         {"tensor '" + kPrefix + tail + "'", "not part of this layer"});
  says([](Checkpoint& c) { c.add("experts.3.w1.weight", c.at("experts.3.gate_proj.weight")); },
       {"experts.3.w1.weight'", "experts.3.gate_proj.weight' is the same weight"});
  says(
      [](Checkpoint& c) {
        c.add("shared_experts.up_proj.weight", c.at("shared_expert.up_proj.weight"));
      },
      {"shared_experts.up_proj.weight'", "shared_expert.up_proj.weight' is the same weight"});
}

TEST_CASE("parts that the layer does not have are not part of it") {
  LayerSpec layer = golden_layer("qwen3_next", DType::bf16);
  layer.shared = {};
  check_message(data_error([&] { load(layer, golden_dir("qwen3_next")); }),
                {"shared_expert", "not part of this layer"});
}

TEST_CASE("wrong shapes and dtypes are named") {
  const auto says = [](auto&& change, std::initializer_list<std::string> parts) {
    check_message(complaint("qwen3_next", DType::bf16, change), parts);
  };
  const auto turn = [](TensorData& t) { std::swap(t.shape[0], t.shape[1]); };
  says([&](Checkpoint& c) { turn(c.at("gate.weight")); }, {"gate.weight'", "[64, 16]", "[16, 64]"});
  says([&](Checkpoint& c) { turn(c.at("experts.2.up_proj.weight")); },
       {"experts.2.up_proj.weight'", "shape [64, 32], expected [32, 64]"});
  says([&](Checkpoint& c) { c.at("shared_expert_gate.weight").shape = {64}; },
       {"shared_expert_gate.weight'", "expected [1, 64]"});
  says([&](Checkpoint& c) { c.at("experts.2.up_proj.weight").dtype = "I16"; },
       {"experts.2.up_proj.weight'", "dtype I16, expected F32, F16, BF16, F8_E4M3"});
  says([&](Checkpoint& c) { c.at("gate.weight").dtype = "U16"; }, {"gate.weight'", "dtype U16"});
  check_message(complaint("deepseek_v3", DType::bf16,
                          [](Checkpoint& c) {
                            c.at("gate.e_score_correction_bias").shape = {4, 4};
                          }),
                {"e_score_correction_bias'", "shape [4, 4], expected [16]"});
}

TEST_CASE("fp8 weights need their scales, and no NaN") {
  const std::string tail = "experts.4.down_proj.weight";
  const auto says = [](DType dtype, auto&& change, std::initializer_list<std::string> parts) {
    check_message(complaint("glm4_moe_fp8_ragged", dtype, change), parts);
  };
  for (const DType dtype : {DType::fp8_block128, DType::bf16}) {
    says(dtype, [&](Checkpoint& c) { c.erase(tail + "_scale_inv"); },
         {tail + "'", "no scale", tail + "_scale_inv'"});
    says(dtype, [&](Checkpoint& c) { c.erase(tail); }, {tail + "': missing"});
    for (const int code : {0x7f, 0xff})
      says(dtype, [&](Checkpoint& c) { c.at(tail).bytes[1000] = static_cast<std::byte>(code); },
           {tail + "'", "element 1000", code == 0x7f ? "0x7f" : "0xff"});
    says(dtype,
         [&](Checkpoint& c) {
           c.at(tail + "_scale_inv").shape = {2, 3};
         },
         {tail + "_scale_inv'", "shape [2, 3], expected [3, 2]"});
    says(dtype, [&](Checkpoint& c) { c.at(tail + "_scale_inv").dtype = "I32"; },
         {tail + "_scale_inv'", "expected F32, BF16"});
    says(dtype,
         [&](Checkpoint& c) {
           std::fill_n(c.at(tail + "_scale_inv").bytes.begin(), 4, std::byte{0xff});
         },
         {tail + "_scale_inv'", "element 0", "expected a finite number"});
  }
  check_message(complaint("qwen3_next", DType::bf16,
                          [](Checkpoint& c) {
                            TensorData scale{"", "F32", {1, 1}, std::vector<std::byte>(4)};
                            c.add("experts.0.up_proj.weight_scale_inv", scale);
                          }),
                {"experts.0.up_proj.weight_scale_inv'", "of dtype BF16, expected F8_E4M3"});
}

TEST_CASE("values that are not finite or do not fit are named") {
  const auto set = [](int element, uint16_t bits) {
    return [=](Checkpoint& c) {
      auto& bytes = c.at("experts.0.up_proj.weight").bytes;
      bytes[static_cast<size_t>(element) * 2] = static_cast<std::byte>(bits & 0xff);
      bytes[static_cast<size_t>(element) * 2 + 1] = static_cast<std::byte>(bits >> 8);
    };
  };
  for (const DType dtype : kAllDTypes)
    for (const uint16_t bits : {0x7fc0, 0x7f80, 0xff80})
      check_message(complaint("qwen3_next", dtype, set(70, bits)),
                    {"experts.0.up_proj.weight'", "element 70", "expected a finite number"});
  check_message(complaint("qwen3_next", DType::f16, set(70, 0x4780)),  // 65536
                {"experts.0.up_proj.weight'", "value 65536 does not fit f16"});
}

TEST_CASE("a folder without weights") {
  test::TemporaryFolder dir;
  const LayerSpec layer = golden_layer("qwen3_next", DType::bf16);
  check_message(data_error([&] { load(layer, dir.path()); }), {dir.path().string(), "no weights"});
  write_safetensors(dir.path() / "model.safetensors", {});
  check_message(data_error([&] { load(layer, dir.path()); }), {"0 MoE layers", "of: none"});
}

}  // namespace
}  // namespace fse
