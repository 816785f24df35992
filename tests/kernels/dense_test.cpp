// The dense products of many tokens, emulated, on shapes that fill no tile: against the float64
// reference, each op alone.
#include <doctest/doctest.h>

#include <array>

#include "core/op.h"
#include "core/workload.h"
#include "kernels/backend.h"

using namespace fse;

namespace {

LayerSpec ragged_layer(DType dtype) {
  LayerSpec layer;
  layer.hidden = 136;       // two slices and a part of a third
  layer.intermediate = 88;  // five and a half halves of a warp's rows
  layer.routing = {.experts = 21, .top_k = 3, .renormalize = true};
  layer.shared = {.count = 1, .shared_width = 144, .weight = SharedWeight::sigmoid_gate};
  layer.dtype = dtype;
  return layer;
}

double relative_error(const Matrix& got, const Matrix& want) {
  return (got - want).norm() / want.norm();
}

void check_dense(const std::string& device, DType dtype) {
  const auto backend = open_backend(
      device, {.device_dir = FSELAB_SOURCE_DIR "/kernels/device", .cache_dir = FSELAB_TEST_CACHE});
  const LayerSpec layer = ragged_layer(dtype);
  const LayerPlan plan = make_plan(layer, make_shard(layer, 1, 0), {}, 515, backend->device());
  const auto weights = random_weights(layer, make_shard(layer, 1, 0), 7);
  const auto session = backend->open(plan, weights);
  const std::vector<float> x = random_input(plan.tokens, layer.hidden, 11);
  session->set_input(x);
  RefState state;
  state[Buf::x] = to_matrix(x, plan.tokens, layer.hidden);
  int checked = 0;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    op_def(step.op).reference(plan, step, weights[0], state);
    const KernelDef* dense = nullptr;
    for (const KernelDef* def : kernels_for(step.op, "hip"))
      if (def->name == "hip." + to_name(step.op) + ".dense") dense = def;
    if (!dense) continue;
    for (const auto& [rows, columns, ring, warps] :
         {std::array{32, 32, 3, 2}, {64, 64, 3, 4}, {128, 32, 3, 4}}) {
      const Tile tile{{{"dependent", 0},
                       {"rows", rows},
                       {"columns", columns},
                       {"ring", ring},
                       {"warps", warps}}};
      if (!dense->legal(tile).empty() || !dense->fits(tile, plan, step, backend->device()).empty())
        continue;
      session->poison_buffers();
      for (Buf id : step.reads) session->write(id, state[id]);
      session->run_step(static_cast<int>(i), {dense, tile}, 0);
      CAPTURE(device);
      CAPTURE(step.name);
      CAPTURE(rows);
      CHECK(relative_error(session->read(step.writes[0]), state[step.writes[0]]) <=
            op_def(step.op).tolerance(plan, step));
      ++checked;
    }
  }
  CHECK(checked >= 8);  // two gates, two stages
}

}  // namespace

TEST_CASE(
    "dense products of ragged shapes agree with the reference, on both kinds of matrix unit") {
  for (const char* device : {"emu:sm_90", "emu:gfx942"}) check_dense(device, DType::bf16);
  check_dense("emu:sm_90", DType::f16);
}
