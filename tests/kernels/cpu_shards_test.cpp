// Tensor-parallel ranks through the cpu kernels: every rank runs its share of the layer, and their
// outputs add up to the whole layer's.
#include <doctest/doctest.h>

#include "tests/kernels/cpu_fixture.h"

using namespace fse;
using fse::test::layer_of;
using fse::test::relative_error;
using fse::test::to_matrix;

namespace {

struct Layer {
  const char* why;
  test::Shape shape;
};
constexpr Layer kLayers[] = {
    {"routed 192 / 2 and / 4: ranges begin and end inside scale blocks", {320, 192, 8, 2, 192}},
    {"hidden ragged against vectors and scale blocks", {136, 192, 6, 2, 64}},
    {"several slots a rank, the last one padded", {200, 96, 5, 2, 232}},
    {"shared wider than routed, scale blocks cut", {264, 320, 4, 2, 448}},
    {"no shared expert", {72, 200, 6, 3, 0}}};

struct Rank {
  LayerPlan plan;
  Matrix out, ids;
};

Rank run_rank(Backend& backend, const LayerWeights& whole, const Variant& variant, int tp, int rank,
              const std::vector<float>& x) {
  const LayerWeights part = shard_weights(whole, tp, rank);
  const auto tokens = static_cast<int>(x.size()) / whole.layer.hidden;
  Rank result{make_plan(whole.layer, part.shard, variant, tokens, backend.device()), {}, {}};
  const auto session = backend.open(result.plan, {part});
  session->set_input(x);
  session->poison_buffers();
  session->run(default_choices(result.plan, backend.device()), 0);
  result.out = session->read(Buf::out);
  result.ids = session->read(Buf::topk_ids).leftCols(whole.layer.routing.top_k);
  return result;
}

// Each rank's own error is relative to its own output, so the bound is the sum over ranks.
void check_ranks(Backend& backend, const LayerWeights& whole, const Variant& variant, int tp,
                 int tokens) {
  const std::vector<float> x = random_input(tokens, whole.layer.hidden, 23);
  const LayerPlan plan = make_plan(whole.layer, whole.shard, variant, tokens, backend.device());
  const RefState want = run_reference(plan, whole, to_matrix(x, tokens));
  Matrix sum = Matrix::Zero(tokens, whole.layer.hidden);
  double bound = 0;
  for (int rank = 0; rank < tp; ++rank) {
    const Rank part = run_rank(backend, whole, variant, tp, rank, x);
    REQUIRE(part.out.allFinite());
    CHECK(part.out.norm() > 0.05 * want[Buf::out].norm());  // each rank contributes
    CHECK(part.ids == want[Buf::topk_ids].leftCols(whole.layer.routing.top_k));
    bound += layer_tolerance(part.plan) * part.out.norm();
    sum += part.out;
  }
  CHECK((sum - want[Buf::out]).norm() <= bound);
  // The bound stays far below what one missing rank would change.
  CHECK(bound < 0.01 * want[Buf::out].norm());
}

std::vector<Variant> variants_of(const LayerSpec& layer) {
  if (!layer.has_shared()) return {{.topk = Topk::fused, .shared = Shared::none}};
  return {{.shared = Shared::mlp},
          {.topk = Topk::fused, .shared = Shared::mlp_overlapped},
          {.topk = Topk::fused, .shared = Shared::slot}};
}

}  // namespace

TEST_CASE("the ranks' outputs add up to the unsharded layer's") {
  const auto backend = open_backend("cpu");
  for (DType dtype : {DType::f32, DType::bf16, DType::fp8_block128})
    for (const Layer& c : kLayers)
      for (SharedWeight weight : {SharedWeight::constant, SharedWeight::sigmoid_gate}) {
        LayerSpec layer = layer_of(c.shape, dtype);
        layer.shared.weight = weight;
        layer.shared.constant = 0.75;
        if (!layer.has_shared() && weight == SharedWeight::constant) continue;
        const LayerWeights whole = random_weights(layer, make_shard(layer, 1, 0), 31).front();
        for (const Variant& variant : variants_of(layer))
          for (int tp : {2, 4}) {
            CAPTURE(c.why);
            CAPTURE(to_name(dtype));
            CAPTURE(to_name(weight));
            CAPTURE(to_label(variant));
            CAPTURE(tp);
            check_ranks(*backend, whole, variant, tp, tp + 1);
          }
      }
}

TEST_CASE("every tile of a rank whose scale blocks are cut agrees with the reference") {
  const auto backend = open_backend("cpu");
  const LayerSpec layer = layer_of({264, 192, 4, 2, 320}, DType::fp8_block128);
  const LayerWeights whole = random_weights(layer, make_shard(layer, 1, 0), 37).front();
  const std::vector<float> x = random_input(3, layer.hidden, 5);
  for (Shared shared : {Shared::mlp, Shared::slot})
    for (int rank = 0; rank < 4; ++rank) {
      const LayerWeights part = shard_weights(whole, 4, rank);
      CAPTURE(rank);
      test::CpuLayer run(part, {.topk = Topk::fused, .shared = shared}, x);
      CHECK((part.shard.routed.begin > part.shard.routed.stored_begin ||
             part.shard.routed.end < part.shard.routed.stored_end));
      for (int i = 0; i < static_cast<int>(run.plan.steps.size()); ++i) {
        const Step& step = run.plan.steps[static_cast<size_t>(i)];
        if (step.op == Op::gate_gemm) continue;  // no rank cuts the router
        const RefState want = run.expected(step);
        for (const KernelDef* kernel : kernels_for(step.op, "cpu"))
          for (const Tile& tile : tiles(*kernel, run.plan, step, backend->device()))
            CHECK(run.try_kernel(i, {kernel, tile}, want) == "");
      }
    }
}
