// The layer in one launch, emulated: its router's rows are unit vectors, so that its logits are
// what the test writes into the input, ties and all.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "core/convert.h"
#include "core/op.h"
#include "kernels/backend.h"
#include "tests/kernels/routing_rows.h"

using namespace fse;

namespace {

constexpr int kExperts = 60, kHidden = 64;

LayerSpec layer_of(ScoreFunction score, bool bias, bool renormalize, DType dtype) {
  LayerSpec layer;
  layer.hidden = kHidden;
  layer.intermediate = 64;
  layer.routing = {.experts = kExperts,
                   .top_k = 6,
                   .score = score,
                   .selection_bias = bias,
                   .renormalize = renormalize,
                   .scaling = 1.5};
  layer.shared = {.count = 1, .shared_width = 64, .weight = SharedWeight::sigmoid_gate};
  layer.dtype = dtype;
  return layer;
}

LayerWeights unit_router(const LayerSpec& layer) {
  LayerWeights weights = random_weights(layer, make_shard(layer, 1, 0), 3).front();
  const auto rows = std::make_shared<std::vector<uint16_t>>((kExperts + 1) * kHidden, uint16_t{0});
  for (size_t e = 0; e <= kExperts; ++e) (*rows)[e * kHidden + e] = to_bf16(1.0F);
  const auto both =
      std::make_shared<std::pair<std::shared_ptr<const void>, decltype(rows)>>(weights.owner, rows);
  weights.router = reinterpret_cast<const std::byte*>(rows->data());
  weights.owner = both;
  return weights;
}

// Spread out; all alike; a tie for the last place; fewer that count than choices; tied at the top.
Matrix inputs(int tokens) {
  Matrix x = Matrix::Zero(tokens, kHidden);
  for (int t = 0; t < tokens; ++t)
    for (int e = 0; e <= kExperts; ++e) switch (t % 6) {
        case 0:
          x(t, e) = test::spread(64, e, 3);
          break;
        case 1:
          x(t, e) = 0.5;
          break;
        case 2:
          x(t, e) = e % 13 == 4 ? 3.0 + (e == 17) : e % 7 == 1 ? 1.5 : -1.0;
          break;
        case 3:
          x(t, e) = e == 59 ? 2.0 : e == 0 ? 1.0 : -120.0;
          break;
        case 4:
          x(t, e) = e % 2 ? 4.0 : -0.25 * (e % 8);
          break;
        default:
          x(t, e) = std::nan("");
      }
  return x;
}

void check_layer(const std::string& device, const LayerSpec& layer, int tokens, int spread) {
  const auto backend = open_backend(
      device, {.device_dir = FSELAB_SOURCE_DIR "/kernels/device", .cache_dir = FSELAB_TEST_CACHE});
  const Variant fused{
      .gate = Gate::fused, .topk = Topk::fused, .shared = Shared::slot, .experts = Experts::fused};
  const LayerPlan plan =
      make_plan(layer, make_shard(layer, 1, 0), fused, tokens, backend->device());
  const LayerWeights weights = unit_router(layer);
  Choice choice = default_choices(plan, backend->device()).front();
  for (auto& [axis, value] : choice.tile.axes)
    if (axis == "spread") value = spread;
  const auto session = backend->open(plan, {weights});
  const Matrix x = inputs(tokens);
  // Other tokens first: what one launch leaves behind for the next must not be taken for its own.
  for (const Matrix& input : {Matrix(x.array() * -1), x}) {
    session->set_input(std::vector<float>(input.data(), input.data() + input.size()));
    session->poison_buffers();
    session->run_step(0, choice, 0);
  }

  const RefState want = run_reference(plan, weights, x);
  CHECK(session->read(Buf::topk_ids) == want[Buf::topk_ids]);
  const Matrix got = session->read(Buf::topk_weights), out = session->read(Buf::out);
  for (Eigen::Index i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    const double w = want[Buf::topk_weights].data()[i];
    CHECK((std::fabs(got.data()[i] - w) <= 1e-5 * w + 1e-30 ||
           (std::isnan(w) && std::isnan(got.data()[i]))));
  }
  for (int t = 0; t < tokens; ++t) {
    if (t % 6 == 5) continue;
    CAPTURE(t);
    const auto row = want[Buf::out].row(t);
    CHECK((out.row(t) - row).norm() <= layer_tolerance(plan) * row.norm());
  }
}

}  // namespace

TEST_CASE("the layer in one launch routes like the reference, by a wave or by a block per token") {
  const LayerSpec softmax = layer_of(ScoreFunction::softmax, false, true, DType::bf16);
  const LayerSpec sigmoid = layer_of(ScoreFunction::sigmoid, true, true, DType::fp8_block128);
  const LayerSpec sums = layer_of(ScoreFunction::softmax, true, false, DType::f16);
  for (const int spread : {0, 2})
    for (const int tokens : {1, 6}) {
      CAPTURE(spread);
      CAPTURE(tokens);
      for (const LayerSpec& layer : {softmax, sigmoid, sums})
        check_layer("emu:sm_90", layer, tokens, spread);
      for (const LayerSpec& layer : {softmax, sigmoid})
        check_layer("emu:gfx942", layer, tokens, spread);
    }
}
