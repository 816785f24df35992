#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>

#include "tests/core/golden_checkpoint.h"

namespace fse {
namespace {

constexpr DType kAllDTypes[] = {DType::f32, DType::bf16, DType::f16, DType::fp8_block128};

// A whole bf16 or fp8 matrix of the file, dequantised where it has scales.
WeightMatrix matrix_of(const Safetensors& st, const std::string& name) {
  const TensorView& t = st.at(name);
  WeightMatrix m(t.shape[0], t.shape[1]);
  double* to = m.data();
  if (t.dtype == "BF16") {
    std::vector<uint16_t> bits(static_cast<size_t>(m.size()));
    std::memcpy(bits.data(), t.bytes.data(), t.bytes.size());
    for (const uint16_t b : bits) *to++ = from_bf16(b);
    return m;
  }
  const TensorView& scales = st.at(name + "_scale_inv");
  const int64_t block_cols = scales.shape[1];
  std::vector<double> scale;
  for (int64_t i = 0; i < scales.elements(); ++i) scale.push_back(scales.at(i));
  for (int64_t i = 0; i < m.size(); ++i) {
    const int64_t block = i / m.cols() / 128 * block_cols + i % m.cols() / 128;
    to[i] = from_fp8_e4m3fn(static_cast<uint8_t>(t.bytes[static_cast<size_t>(i)])) *
            scale[static_cast<size_t>(block)];
  }
  return m;
}

// The error of storing `want` as the layer's dtype, per element: half a step, which for fp8 is
// relative to the largest magnitude near it (scale = that / 448, half a step there is 16).
void check_stored(const WeightMatrix& got, const WeightMatrix& want, DType dtype, bool was_fp8) {
  REQUIRE(got.rows() == want.rows());
  REQUIRE(got.cols() == want.cols());
  const bool exact =
      was_fp8 ? dtype == DType::fp8_block128 : dtype == DType::f32 || dtype == DType::bf16;
  if (exact) {
    CHECK(got == want);
    return;
  }
  const double step = dtype == DType::fp8_block128 ? 0x1p-4 : epsilon(dtype) / 2;
  const double floor =
      dtype == DType::fp8_block128 ? want.cwiseAbs().maxCoeff() / 448 * 0x1p-10 : 0x1p-25;
  const auto bound = want.array().abs() * step * 1.01 + floor;
  CHECK(((got - want).array().abs() <= bound).all());
}

// The shared expert, put together again from its slots.
WeightMatrix join_slots(const LayerWeights& w, WeightMatrix (*part)(const LayerWeights&, int),
                        bool columns) {
  const int experts = w.layer.routing.experts;
  WeightMatrix joined = part(w, experts);
  for (int s = 1; s < w.shard.slots; ++s) {
    const WeightMatrix next = part(w, experts + s);
    WeightMatrix both(columns ? joined.rows() : joined.rows() + next.rows(),
                      columns ? joined.cols() + next.cols() : joined.cols());
    both << joined, next;
    joined = both;
  }
  return joined;
}

// Every matrix of a golden checkpoint by the name behind its prefix.
std::map<std::string, WeightMatrix> golden_matrices(const std::string& folder) {
  const Safetensors st = Safetensors::open_checkpoint(golden_dir(folder));
  std::map<std::string, WeightMatrix> matrices;
  for (const auto& [name, view] : st.tensors())
    if (name.ends_with(".weight"))
      matrices.emplace(name.substr(kPrefix.size()), matrix_of(st, name));
  return matrices;
}

void check_golden(const GoldenLayer& golden, const std::map<std::string, WeightMatrix>& want,
                  const LayerWeights& w) {
  const DType dtype = w.layer.dtype;
  const int experts = w.layer.routing.experts;
  const int width = w.layer.intermediate;  // fp8 slots may be stored wider
  CHECK(router_matrix(w, 0, experts) == want.at("gate.weight"));
  for (int e = 0; e < experts; ++e) {
    const std::string name = std::string("experts.") + std::to_string(e) + ".";
    check_stored(gate_matrix(w, e).topRows(width), want.at(name + "gate_proj.weight"), dtype,
                 golden.fp8);
    check_stored(up_matrix(w, e).topRows(width), want.at(name + "up_proj.weight"), dtype,
                 golden.fp8);
    check_stored(down_matrix(w, e).leftCols(width), want.at(name + "down_proj.weight"), dtype,
                 golden.fp8);
  }
  if (!w.layer.has_shared()) return;
  const bool gated = w.layer.gate_rows() > 0;
  const std::string name = gated ? "shared_expert." : "shared_experts.";
  const int shared_width = w.layer.shared.shared_width;
  check_stored(join_slots(w, gate_matrix, false).topRows(shared_width),
               want.at(name + "gate_proj.weight"), dtype, golden.fp8);
  check_stored(join_slots(w, up_matrix, false).topRows(shared_width),
               want.at(name + "up_proj.weight"), dtype, golden.fp8);
  check_stored(join_slots(w, down_matrix, true).leftCols(shared_width),
               want.at(name + "down_proj.weight"), dtype, golden.fp8);
  if (gated) CHECK(router_matrix(w, experts, experts + 1) == want.at("shared_expert_gate.weight"));
}

// The bytes that a checkpoint was loaded to, one matrix at a time.
void check_same(const LayerWeights& got, const LayerWeights& want) {
  const int rows = want.layer.routing.experts + want.layer.gate_rows();
  CHECK(router_matrix(got, 0, rows) == router_matrix(want, 0, rows));
  for (int e = 0; e < want.layer.routing.experts + want.shard.slots; ++e) {
    CHECK(gate_matrix(got, e) == gate_matrix(want, e));
    CHECK(up_matrix(got, e) == up_matrix(want, e));
    CHECK(down_matrix(got, e) == down_matrix(want, e));
  }
  REQUIRE((got.selection_bias == nullptr) == (want.selection_bias == nullptr));
  for (int e = 0; want.selection_bias && e < want.layer.routing.experts; ++e)
    CHECK(got.selection_bias[e] == want.selection_bias[e]);
}

TEST_CASE("ERNIE's and Hunyuan's names mean what the others' do") {
  LayerSpec ernie = golden_layer("deepseek_v3", DType::bf16);
  ernie.routing.score = ScoreFunction::softmax;
  const LayerWeights want = load(ernie, golden_dir("deepseek_v3"));
  Checkpoint checkpoint("deepseek_v3");
  checkpoint.rename("gate.e_score_correction_bias", "moe_statics.e_score_correction_bias");
  TensorData& bias = checkpoint.at("moe_statics.e_score_correction_bias");
  bias.shape = {1, 16};
  check_same(load(ernie, checkpoint.write()), want);
  bias.shape = {16};
  check_message(data_error([&] { load(ernie, checkpoint.write()); }),
                {"moe_statics.e_score_correction_bias'", "shape [16], expected [1, 16]"});
  checkpoint.erase("moe_statics.e_score_correction_bias");
  check_message(data_error([&] { load(ernie, checkpoint.write()); }),
                {"mlp.moe_statics.e_score_correction_bias': missing"});

  const LayerSpec hunyuan = golden_layer("deepseek_v2", DType::bf16);
  Checkpoint renamed("deepseek_v2");
  renamed.rename("mlp.gate.weight", "mlp.gate.wg.weight");
  renamed.rename("shared_experts.", "shared_mlp.");
  check_same(load(hunyuan, renamed.write()), load(hunyuan, golden_dir("deepseek_v2")));
  renamed.add("gate.weight", renamed.at("gate.wg.weight"));
  check_message(data_error([&] { load(hunyuan, renamed.write()); }), {"is the same weight"});
  renamed.erase("gate.weight");
  renamed.erase("shared_mlp.up_proj.weight");
  check_message(data_error([&] { load(hunyuan, renamed.write()); }),
                {"mlp.shared_mlp.up_proj.weight': missing"});
  renamed.erase("gate.wg.weight");
  check_message(data_error([&] { load(hunyuan, renamed.write()); }),
                {"mlp.gate.wg.weight': missing"});
}

TEST_CASE("every golden layer loads in every dtype") {
  for (const GoldenLayer& golden : golden_layers()) {
    const auto want = golden_matrices(golden.folder);
    for (const DType dtype : kAllDTypes) {
      CAPTURE(golden.folder);
      CAPTURE(to_name(dtype));
      LayerSpec layer = golden.layer;
      layer.dtype = dtype;
      check_golden(golden, want, load(layer, golden_dir(golden.folder)));
    }
  }
}

TEST_CASE("the selection bias is the checkpoint's, in f32") {
  for (const DType dtype : kAllDTypes) {
    const LayerWeights w = load(golden_layer("deepseek_v3", dtype), golden_dir("deepseek_v3"));
    const Safetensors st = Safetensors::open_checkpoint(golden_dir("deepseek_v3"));
    for (int e = 0; e < 16; ++e)
      CHECK(w.selection_bias[e] == st.at(kPrefix + "gate.e_score_correction_bias").at(e));
  }
}

TEST_CASE("wide shared experts become slots") {
  const LayerSpec qwen2 = golden_layer("qwen2_moe", DType::bf16);
  CHECK(load(qwen2, golden_dir("qwen2_moe")).shard.slots == 4);
  const LayerSpec deepseek = golden_layer("deepseek_v2", DType::bf16);
  CHECK(load(deepseek, golden_dir("deepseek_v2")).shard.slots == 2);
}

TEST_CASE("a shared expert that fills its last slot in part is padded with zeros") {
  LayerSpec layer = golden_layer("qwen2_moe", DType::bf16);
  Checkpoint changed("qwen2_moe");
  for (const char* tail : {"shared_expert.gate_proj.weight", "shared_expert.up_proj.weight"}) {
    changed.at(tail).shape = {88, 64};
    changed.at(tail).bytes.resize(88 * 64 * 2);
  }
  changed.at("shared_expert.down_proj.weight").shape = {64, 88};
  changed.at("shared_expert.down_proj.weight").bytes.resize(88 * 64 * 2);
  layer.shared.shared_width = 88;
  const LayerWeights w = load(layer, changed.write());
  const Safetensors st = Safetensors::open_checkpoint(changed.dir.path());
  CHECK(join_slots(w, down_matrix, true).leftCols(88) ==
        matrix_of(st, kPrefix + "shared_expert.down_proj.weight"));
  CHECK(gate_matrix(w, 15).bottomRows(8).isZero(0));
  CHECK(up_matrix(w, 15).bottomRows(8).isZero(0));
  CHECK(down_matrix(w, 15).rightCols(8).isZero(0));
}

TEST_CASE("fp8 codes and scales are kept bit by bit") {
  const LayerSpec layer = golden_layer("glm4_moe_fp8_ragged", DType::fp8_block128);
  const LayerWeights w = load(layer, golden_dir("glm4_moe_fp8_ragged"));
  const Safetensors st = Safetensors::open_checkpoint(golden_dir("glm4_moe_fp8_ragged"));
  const auto same_bytes = [&](const std::string& tail, const void* packed) {
    const TensorView& t = st.at(kPrefix + tail);
    CHECK(std::memcmp(t.bytes.data(), packed, t.bytes.size()) == 0);
  };
  same_bytes("experts.3.up_proj.weight", w.gate_up + (3 * 2 + 1) * 192 * 320);
  same_bytes("experts.3.up_proj.weight_scale_inv", w.gate_up_scale + (3 * 2 + 1) * 2 * 3);
  same_bytes("experts.5.down_proj.weight", w.down + 5 * 320 * 192);
  same_bytes("shared_experts.down_proj.weight_scale_inv", w.down_scale + 6 * 3 * 2);
}

TEST_CASE("loading a shard is cutting the whole") {
  for (const char* folder : {"glm4_moe_fp8_ragged", "qwen2_moe"})
    for (const DType dtype : {DType::bf16, DType::fp8_block128}) {
      CAPTURE(folder);
      CAPTURE(to_name(dtype));
      const LayerSpec layer = golden_layer(folder, dtype);
      const LayerWeights whole = load(layer, golden_dir(folder));
      for (const auto& [tp, rank] : {std::pair{2, 1}, {4, 0}, {4, 2}}) {
        CAPTURE(tp);
        const Shard shard = make_shard(layer, tp, rank);
        const LayerWeights loaded = load_weights(layer, shard, golden_dir(folder));
        const LayerWeights cut = shard_weights(whole, tp, rank);
        const int experts = layer.routing.experts;
        for (int e = experts - 1; e < experts + shard.slots; ++e) {
          CHECK(gate_matrix(loaded, e) == gate_matrix(cut, e));
          CHECK(up_matrix(loaded, e) == up_matrix(cut, e));
          CHECK(down_matrix(loaded, e) == down_matrix(cut, e));
        }
      }
    }
}

TEST_CASE("bf16 becomes fp8 with the largest magnitude of a block at 448") {
  const LayerSpec layer = golden_layer("glm4_moe", DType::fp8_block128);
  Checkpoint changed("glm4_moe");
  auto& zeros = changed.at("experts.1.up_proj.weight").bytes;
  std::fill(zeros.begin(), zeros.end(), std::byte{0});
  const LayerWeights w = load(layer, changed.write());
  const Safetensors st = Safetensors::open_checkpoint(changed.dir.path());
  const WeightMatrix gate = matrix_of(st, kPrefix + "experts.0.gate_proj.weight");  // one block
  CHECK(w.gate_up_scale[0] == static_cast<float>(gate.cwiseAbs().maxCoeff()) / 448.0f);
  CHECK(gate_matrix(w, 0).cwiseAbs().maxCoeff() ==
        doctest::Approx(gate.cwiseAbs().maxCoeff()).epsilon(1e-6));
  CHECK(w.gate_up_scale[3] == 1.0f);
  CHECK(up_matrix(w, 1).isZero(0));
}

TEST_CASE("scales may be bf16") {
  const LayerSpec layer = golden_layer("glm4_moe_fp8_ragged", DType::fp8_block128);
  Checkpoint changed("glm4_moe_fp8_ragged");
  TensorData& scale = changed.at("experts.2.gate_proj.weight_scale_inv");
  scale.dtype = "BF16";
  scale.bytes.clear();
  for (const uint16_t bits : {0x3f80, 0x4000, 0x4040, 0x3f00, 0x3e80, 0x4080})
    for (const int shift : {0, 8}) scale.bytes.push_back(static_cast<std::byte>(bits >> shift));
  const LayerWeights w = load(layer, changed.write());
  const std::vector<float> want = {1, 2, 3, 0.5, 0.25, 4};
  CHECK(std::equal(want.begin(), want.end(), w.gate_up_scale + 2 * 2 * 2 * 3));
}

TEST_CASE("checkpoints in f32 and f16 load") {
  const LayerSpec layer = golden_layer("qwen3_next", DType::f32);
  Checkpoint changed("qwen3_next");
  for (const bool half : {false, true}) {
    TensorData& t = changed.at(half ? "experts.1.up_proj.weight" : "experts.0.up_proj.weight");
    t.dtype = half ? "F16" : "F32";
    t.bytes.clear();
    for (int i = 0; i < 32 * 64; ++i) {
      const float value = static_cast<float>(i) / 64;
      const uint32_t bits = half ? to_f16(value) : std::bit_cast<uint32_t>(value);
      for (int b = 0; b < (half ? 2 : 4); ++b)
        t.bytes.push_back(static_cast<std::byte>(bits >> (8 * b)));
    }
  }
  const LayerWeights w = load(layer, changed.write());
  CHECK(up_matrix(w, 0)(31, 63) == 2047.0 / 64);
  CHECK(up_matrix(w, 1) == up_matrix(w, 0));
}

TEST_CASE("a layer is found under every prefix the hub uses") {
  const LayerSpec layer = golden_layer("qwen3_next", DType::bf16);
  const LayerWeights want = load(layer, golden_dir("qwen3_next"));
  for (const std::string prefix :
       {"mtp.layers.0.mlp", "model.language_model.layers.7.mlp", "model.layers.61.mlp", "mlp"}) {
    CAPTURE(prefix);
    Checkpoint changed("qwen3_next");
    changed.rename("model.layers.0.mlp", prefix);
    CHECK(gate_matrix(load(layer, changed.write()), 3) == gate_matrix(want, 3));
    CHECK(gate_matrix(load(layer, changed.dir.path(), prefix), 3) == gate_matrix(want, 3));
  }
}

TEST_CASE("Mixtral's and MiniMax's names") {
  const LayerSpec layer = golden_layer("deepseek_v3", DType::bf16);
  const LayerWeights want = load(layer, golden_dir("deepseek_v3"));
  Checkpoint changed("deepseek_v3");
  changed.rename("mlp.gate.e_score", "mlp.e_score");
  changed.rename(".mlp.", ".block_sparse_moe.");
  for (int e = 0; e < 16; ++e) {
    const std::string expert = "experts." + std::to_string(e) + ".";
    changed.rename(expert + "gate_proj", expert + "w1");
    changed.rename(expert + "up_proj", expert + "w3");
    changed.rename(expert + "down_proj", expert + "w2");
  }
  const LayerWeights w = load(layer, changed.write(), "model.layers.0.block_sparse_moe");
  for (int e = 0; e < 17; ++e) {
    CHECK(gate_matrix(w, e) == gate_matrix(want, e));
    CHECK(up_matrix(w, e) == up_matrix(want, e));
    CHECK(down_matrix(w, e) == down_matrix(want, e));
  }
  CHECK(w.selection_bias[15] == want.selection_bias[15]);
  std::erase_if(changed.tensors,
                [](const TensorData& t) { return t.name.ends_with("9.w3.weight"); });
  check_message(data_error([&] { load(layer, changed.write()); }),
                {"experts.9.w3.weight': missing"});
}

// The experts of a checkpoint as two tensors: [E, 2I, H], gate rows first, and [E, H, I].
void stack_experts(Checkpoint& c, int experts, int64_t width, int64_t hidden) {
  TensorData gate_up{"", "BF16", {experts, 2 * width, hidden}, {}};
  TensorData down{"", "BF16", {experts, hidden, width}, {}};
  for (int e = 0; e < experts; ++e)
    for (const std::string part : {"gate", "up", "down"}) {
      const std::string tail = "experts." + std::to_string(e) + "." + part + "_proj.weight";
      const TensorData& from = c.at(tail);
      TensorData& to = part == "down" ? down : gate_up;
      to.bytes.insert(to.bytes.end(), from.bytes.begin(), from.bytes.end());
      c.erase(tail);
    }
  c.add("experts.gate_up_proj", gate_up);
  c.add("experts.down_proj", down);
}

TEST_CASE("stacked experts load like single ones") {
  const LayerSpec layer = golden_layer("qwen3_next", DType::bf16);
  const GoldenLayer golden{"qwen3_next", layer};
  Checkpoint changed("qwen3_next");
  stack_experts(changed, 16, 32, 64);
  check_golden(golden, golden_matrices("qwen3_next"), load(layer, changed.write()));
  TensorData& gate_up = changed.at("experts.gate_up_proj");
  gate_up.shape = {64, 16, 64};
  check_message(data_error([&] { load(layer, changed.write()); }),
                {"experts.gate_up_proj'", "expected [16, 64, 64]"});
  gate_up = {gate_up.name, "F8_E4M3", {16, 64, 64}, std::vector<std::byte>(16 * 64 * 64)};
  check_message(data_error([&] { load(layer, changed.write()); }),
                {"experts.gate_up_proj'", "F8_E4M3"});
}

TEST_CASE("a sharded checkpoint loads through its index") {
  const LayerSpec layer = golden_layer("qwen3_moe", DType::bf16);
  Checkpoint whole("qwen3_moe");
  const size_t half = whole.tensors.size() / 2;
  const auto middle = whole.tensors.begin() + static_cast<ptrdiff_t>(half);
  const std::string names[] = {"model-00001-of-00002.safetensors",
                               "model-00002-of-00002.safetensors"};
  write_safetensors(whole.dir.path() / names[0], {whole.tensors.begin(), middle});
  write_safetensors(whole.dir.path() / names[1], {middle, whole.tensors.end()});
  std::string map;
  for (size_t i = 0; i < whole.tensors.size(); ++i)
    map += (i ? "," : "") + ("\"" + whole.tensors[i].name) + "\":\"" + names[i >= half] + "\"";
  std::ofstream(whole.dir.path() / "model.safetensors.index.json")
      << "{\"weight_map\":{" << map << "}}";
  check_golden({"qwen3_moe", layer}, golden_matrices("qwen3_moe"), load(layer, whole.dir.path()));
}

}  // namespace
}  // namespace fse
