// The ops that a vendor's library multiplies, emulated: the library's products are plain sums here,
// and what it leaves to do are the device's own kernels. Against the float64 reference, each alone.
#include <doctest/doctest.h>

#include "core/op.h"
#include "core/workload.h"
#include "kernels/backend.h"
#include "kernels/gpu/layer.h"
#include "kernels/gpu/library.h"

using namespace fse;

namespace {

// Ragged; a shared expert of one slot and of two, the last one padded.
LayerSpec layer_of(DType dtype, int shared_width, SharedWeight weight, int intermediate = 88) {
  LayerSpec layer;
  layer.hidden = 136;
  layer.intermediate = intermediate;
  layer.routing = {.experts = 21, .top_k = 3, .renormalize = true};
  layer.shared = {.count = 1, .shared_width = shared_width, .weight = weight, .constant = 0.75};
  layer.dtype = dtype;
  return layer;
}

const KernelDef& library_row(Op op) {
  return *find_kernel("hip." + to_name(op) + ".library");
}

int check_library(const std::string& device, const LayerSpec& layer, Gate gate) {
  const auto backend = open_backend(
      device, {.device_dir = FSELAB_SOURCE_DIR "/kernels/device", .cache_dir = FSELAB_TEST_CACHE});
  const Shard shard = make_shard(layer, 1, 0);
  const LayerPlan plan = make_plan(layer, shard, {.gate = gate}, 9, backend->device());
  const auto weights = random_weights(layer, shard, 7);
  const auto session = backend->open(plan, weights);
  const std::vector<float> x = random_input(plan.tokens, layer.hidden, 11);
  session->set_input(x);
  RefState state;
  state[Buf::x] = to_matrix(x, plan.tokens, layer.hidden);
  int checked = 0;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    op_def(step.op).reference(plan, step, weights[0], state);
    if (step.op != Op::gate_gemm && step.op != Op::mlp_stage1 && step.op != Op::mlp_stage2)
      continue;
    const KernelDef& row = library_row(step.op);
    const Tile tile = row.default_tile(plan, step, backend->device());
    if (!row.fits(tile, plan, step, backend->device()).empty()) continue;
    session->poison_buffers();
    for (Buf id : step.reads) session->write(id, state[id]);
    session->run_step(static_cast<int>(i), {&row, tile}, 0);
    const Matrix &got = session->read(step.writes[0]), &want = state[step.writes[0]];
    CAPTURE(device);
    CAPTURE(step.name);
    CHECK((got - want).norm() / want.norm() <= op_def(step.op).tolerance(plan, step));
    ++checked;
  }
  return checked;
}

}  // namespace

TEST_CASE("what a library multiplies and what is left to do agree with the reference") {
  for (const char* device : {"emu:sm_90", "emu:gfx90a"}) {
    CHECK(check_library(device, layer_of(DType::bf16, 144, SharedWeight::sigmoid_gate),
                        Gate::separate) == 4);
    CHECK(check_library(device, layer_of(DType::bf16, 88, SharedWeight::constant),
                        Gate::separate) == 3);
  }
  CHECK(check_library("emu:sm_90", layer_of(DType::bf16, 88, SharedWeight::sigmoid_gate),
                      Gate::fused) == 3);
  CHECK(check_library("emu:sm_90", layer_of(DType::f16, 170, SharedWeight::constant, 85),
                      Gate::separate) == 2);  // no bf16 router with f16 activations
}

TEST_CASE("a library is not asked for what it cannot do, nor where there is none") {
  DeviceInfo device = typical_gpu("sm_90");
  const auto why = [&](DType dtype, Op op) {
    const LayerSpec layer = layer_of(dtype, 88, SharedWeight::constant, 128);
    const LayerPlan plan = make_plan(layer, make_shard(layer, 1, 0), {}, 4, device);
    for (const Step& step : plan.steps)
      if (step.op == op) {
        const KernelDef& row = library_row(op);
        return row.fits(row.default_tile(plan, step, device), plan, step, device);
      }
    return std::string("no such step");
  };
  CHECK(why(DType::bf16, Op::mlp_stage1) ==
        "no library of the device's vendor was found, see `fselab devices`");
  device.library = "cuBLASLt 13.1.0";
  CHECK(why(DType::bf16, Op::mlp_stage1) == "");
  CHECK(why(DType::fp8_block128, Op::gate_gemm) == "");  // its router is bf16
  CHECK(why(DType::fp8_block128, Op::mlp_stage2).starts_with("the library is not given fp8"));
  CHECK(why(DType::f16, Op::gate_gemm).starts_with("the router is bf16"));
  CHECK(why(DType::f16, Op::mlp_stage2) == "");
  const KernelDef& row = library_row(Op::mlp_stage1);
  CHECK(row.legal({{{"workspace_mb", 32}, {"algo", 8}}}) == "algo is 0 to 7");
  CHECK(row.legal({{{"workspace_mb", -1}, {"algo", 0}}}) == "workspace_mb is 0 to 1024");
}

TEST_CASE("a library's row never runs untuned") {
  DeviceInfo device = typical_gpu("sm_90");
  device.library = "cuBLASLt 13.1.0";
  const LayerSpec layer = layer_of(DType::bf16, 144, SharedWeight::sigmoid_gate);
  for (const Choice& choice :
       default_choices(make_plan(layer, make_shard(layer, 1, 0), {}, 64, device), device))
    CHECK_FALSE(is_library(choice.kernel->name));
}
