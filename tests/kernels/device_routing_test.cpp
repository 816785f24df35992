// The GPU routing kernels, emulated, on rows where float32 has no scores left.
#include <doctest/doctest.h>

#include "core/op.h"
#include "core/workload.h"
#include "kernels/backend.h"
#include "tests/kernels/routing_rows.h"

using namespace fse;

namespace {

LayerSpec sigmoid_layer(bool renormalize) {
  LayerSpec layer;
  layer.hidden = 256;
  layer.intermediate = 128;
  layer.routing = {.experts = 24,
                   .top_k = 4,
                   .score = ScoreFunction::sigmoid,
                   .renormalize = renormalize,
                   .scaling = 2.5};
  layer.dtype = DType::bf16;
  return layer;
}

// Every row of which all, all but one, or none of the scores are 0.
Matrix vanishing_logits(int experts) {
  Matrix rows(0, experts);
  for (double v : {-86.0, -87.0, -88.0, -90.0, -104.0, -120.0, -1e30, -test::kInf})
    test::append_row(rows, experts, [&](int) { return v; });
  test::append_row(rows, experts, [](int e) { return -88.0 - e; });
  test::append_row(rows, experts, [](int e) { return e == 17 ? -3.0 : -100.0 + e; });
  test::append_row(rows, experts, [](int e) { return e == 5 ? -50.0 : -48.0 + e % 2; });
  return rows;
}

}  // namespace

TEST_CASE("emulated routing gives scores that vanish the weights that the reference gives them") {
  const auto backend = open_backend(
      "emu:gfx942",
      {.device_dir = FSELAB_SOURCE_DIR "/kernels/device", .cache_dir = FSELAB_TEST_CACHE});
  for (const bool renormalize : {true, false})
    for (const Topk topk : {Topk::unfused, Topk::fused}) {
      CAPTURE(renormalize);
      CAPTURE(to_name(topk));
      const LayerSpec layer = sigmoid_layer(renormalize);
      const Shard shard = make_shard(layer, 1, 0);
      const Matrix logits = vanishing_logits(layer.routing.experts);
      const LayerPlan plan = make_plan(layer, shard, {.topk = topk, .shared = Shared::none},
                                       static_cast<int>(logits.rows()), backend->device());
      const auto weights = random_weights(layer, shard, 1);
      const auto session = backend->open(plan, weights);
      const auto choices = default_choices(plan, backend->device());
      session->poison_buffers();
      session->write(Buf::router_logits, logits);
      RefState want;
      want[Buf::router_logits] = logits;
      for (size_t i = 0; i < plan.steps.size(); ++i) {
        const Step& step = plan.steps[i];
        if (step.op != Op::score && step.op != Op::select && step.op != Op::renormalize &&
            step.op != Op::topk)
          continue;
        session->run_step(static_cast<int>(i), choices[i], 0);
        op_def(step.op).reference(plan, step, weights[0], want);
      }
      CHECK(session->read(Buf::topk_ids) == want[Buf::topk_ids]);
      const Matrix got = session->read(Buf::topk_weights);
      for (Eigen::Index t = 0; t < got.rows(); ++t)
        for (Eigen::Index j = 0; j < got.cols(); ++j) {
          CAPTURE(t);
          CAPTURE(j);
          const double w = want[Buf::topk_weights](t, j);
          CHECK(std::fabs(got(t, j) - w) <= 1e-5 * w);
          if (logits.row(t).maxCoeff() <= -87) CHECK(got(t, j) == 0);
        }
    }
}

TEST_CASE("emulated dispatch sorts like the reference, in one block and in many, empty pairs too") {
  LayerSpec layer = sigmoid_layer(true);
  layer.routing.experts = 45;  // no number of experts per block divides them
  const Shard shard = make_shard(layer, 1, 0);
  for (const char* device : {"emu:sm_90", "emu:gfx942"}) {
    const auto backend = open_backend(device, {.device_dir = FSELAB_SOURCE_DIR "/kernels/device",
                                               .cache_dir = FSELAB_TEST_CACHE});
    const LayerPlan plan = make_plan(layer, shard, {.topk = Topk::fused, .shared = Shared::none},
                                     331, backend->device());
    size_t at = 0;
    while (plan.steps[at].op != Op::dispatch) ++at;
    const auto weights = random_weights(layer, shard, 1);
    const auto session = backend->open(plan, weights);
    RefState want;
    want[Buf::topk_ids] = draw_routing(layer, {}, plan.tokens, 5);
    for (Eigen::Index i = 0; i < want[Buf::topk_ids].size(); i += 7)
      want[Buf::topk_ids].data()[i] = i % 3 == 0 ? -1 : i % 3 == 1 ? 45 : -2000000000;
    session->write(Buf::topk_ids, want[Buf::topk_ids]);
    op_def(Op::dispatch).reference(plan, plan.steps[at], weights[0], want);
    Choice choice = default_choices(plan, backend->device())[at];
    for (const auto& [experts, warps] : {std::pair{0, 4}, {1, 2}, {2, 1}, {4, 8}, {8, 4}}) {
      CAPTURE(device);
      CAPTURE(experts);
      choice.tile.axes = {{"dependent", 0}, {"experts", experts}, {"warps", warps}};
      session->write(Buf::sorted_pairs, Matrix::Constant(1, plan.pairs(), -7));
      session->run_step(static_cast<int>(at), choice, 0);
      CHECK(session->read(Buf::sorted_pairs) == want[Buf::sorted_pairs]);
      CHECK(session->read(Buf::expert_offsets) == want[Buf::expert_offsets]);
    }
  }
}
