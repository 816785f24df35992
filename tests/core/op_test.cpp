#include "core/op.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <set>

#include "core/error.h"
#include "core/model_import.h"
#include "core/safetensors.h"

using namespace fse;

namespace {

const DeviceInfo kCpu{
    .name = "cpu", .kind = "cpu", .dtypes = {DType::f32, DType::bf16, DType::fp8_block128}};

const std::filesystem::path kGolden = std::filesystem::path(FSELAB_SOURCE_DIR) / "tests/golden";
const char* const kLayers[] = {"qwen3_next",  "qwen2_moe", "qwen3_moe",      "deepseek_v2",
                               "deepseek_v3", "glm4_moe",  "qwen3_next_fp8", "glm4_moe_fp8_ragged"};

struct GoldenLayer {
  LayerSpec layer;
  LayerWeights weights;
  Safetensors golden;
  Matrix matrix(const std::string& name) const {
    const TensorView& tensor = golden.at(name);
    Matrix m(tensor.shape[0], tensor.shape[1]);
    for (Eigen::Index i = 0; i < m.size(); ++i) m.data()[i] = tensor.at(i);
    return m;
  }
};

GoldenLayer load(const std::string& name) {
  const ModelConfig config = import_config(kGolden / name / "config.json");
  LayerSpec layer = config.layer;
  layer.dtype = *from_name<DType>(config.storage);
  return {layer, load_weights(layer, make_shard(layer, 1, 0), kGolden / name),
          Safetensors::open(kGolden / name / "golden.safetensors")};
}

double relative_error(const Matrix& got, const Matrix& want) {
  return (got - want).norm() / want.norm();
}

std::vector<LayerPlan> legal_plans(const LayerSpec& layer, const Shard& shard, int tokens) {
  std::vector<LayerPlan> plans;
  for (const Variant& variant : all_variants())
    if (check(layer, variant, kCpu).empty())
      plans.push_back(make_plan(layer, shard, variant, tokens, kCpu));
  return plans;
}

}  // namespace

TEST_CASE("the reference reproduces every golden layer in every variant") {
  for (const char* name : kLayers) {
    const GoldenLayer g = load(name);
    const Matrix x = g.matrix("input");
    const Matrix output = g.matrix("output");
    for (const LayerPlan& plan :
         legal_plans(g.layer, g.weights.shard, static_cast<int>(x.rows()))) {
      CAPTURE(name);
      CAPTURE(to_label(plan.variant));
      const RefState state = run_reference(plan, g.weights, x);
      CHECK(relative_error(state[Buf::out], output) < 1e-5);
    }
  }
}

TEST_CASE("the reference routes as the golden layers do, with their weights") {
  for (const char* name : kLayers) {
    CAPTURE(name);
    const GoldenLayer g = load(name);
    const Matrix x = g.matrix("input");
    const auto tokens = static_cast<int>(x.rows());
    const RefState state =
        run_reference(legal_plans(g.layer, g.weights.shard, tokens).front(), g.weights, x);
    const Matrix ids = g.matrix("topk_ids"), weights = g.matrix("topk_weights");
    CHECK(relative_error(state[Buf::router_logits].leftCols(g.layer.routing.experts),
                         g.matrix("router_logits")) < 1e-5);
    for (Eigen::Index t = 0; t < tokens; ++t) {
      std::map<double, double> got, want;
      for (int j = 0; j < g.layer.routing.top_k; ++j) {
        got[state[Buf::topk_ids](t, j)] = state[Buf::topk_weights](t, j);
        want[ids(t, j)] = weights(t, j);
      }
      for (const auto& [id, weight] : want) {
        REQUIRE(got.count(id) == 1);
        CHECK(got[id] == doctest::Approx(weight).epsilon(1e-5));
      }
    }
  }
}

TEST_CASE("ids that a kernel chose replace the selection and keep the layer's rule for weights") {
  const GoldenLayer g = load("deepseek_v3");
  const Matrix x = g.matrix("input").topRows(2);
  Matrix chosen(2, 4);
  chosen << 0, 5, 9, 14, 3, 2, 1, 0;
  for (const LayerPlan& plan : legal_plans(g.layer, g.weights.shard, 2)) {
    CAPTURE(to_label(plan.variant));
    const RefState state = run_reference(plan, g.weights, x, &chosen);
    CHECK(state[Buf::topk_ids].leftCols(4) == chosen);
    // Renormalised and scaled: the routed weights sum to the scaling factor.
    CHECK(state[Buf::topk_weights].leftCols(4).row(1).sum() == doctest::Approx(2.5));
  }
}

TEST_CASE("the ranks of a tensor-parallel layer sum to the unsharded one") {
  for (const char* name : kLayers) {
    const GoldenLayer g = load(name);
    const Matrix x = g.matrix("input");
    const auto tokens = static_cast<int>(x.rows());
    for (int tp : {2, 4}) {
      for (size_t v = 0; v < legal_plans(g.layer, g.weights.shard, tokens).size(); ++v) {
        Matrix sum = Matrix::Zero(tokens, g.layer.hidden);
        for (int rank = 0; rank < tp; ++rank) {
          const LayerWeights part = shard_weights(g.weights, tp, rank);
          const LayerPlan plan = legal_plans(g.layer, part.shard, tokens)[v];
          CAPTURE(name);
          CAPTURE(tp);
          CAPTURE(to_label(plan.variant));
          sum += run_reference(plan, part, x)[Buf::out];
        }
        CHECK(relative_error(sum, g.matrix("output")) < 1e-5);
      }
    }
  }
}

TEST_CASE("invalid ids are empty pairs for dispatch, experts and combine") {
  const GoldenLayer g = load("qwen3_moe");
  const Matrix x = g.matrix("input").topRows(2);
  const LayerPlan plan = legal_plans(g.layer, g.weights.shard, 2).front();
  Matrix chosen(2, 4);
  chosen << 3, -1, 16, 7, 1e9, 3, -5, 2;
  const RefState state = run_reference(plan, g.weights, x, &chosen);
  CHECK(state[Buf::expert_offsets](0, 16) == 4);
  CHECK(state[Buf::sorted_pairs](0, 4) == -1);
  CHECK(state[Buf::out].allFinite());
  const Load load = load_of(state[Buf::topk_ids], 16);
  CHECK(load.pairs() == 4);
  CHECK(load.rows_per_expert[3] == 2);
}
