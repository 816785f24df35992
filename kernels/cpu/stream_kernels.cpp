#include <fmt/format.h>

#include "kernels/cpu/families.h"
#include "kernels/cpu/row_steps.h"

namespace fse {
namespace {

// Decode: most weights are used for one or two tokens, so the step is as fast as weights arrive.
void run(const CpuArgs& a, const Tile& tile, Team& team) {
  const StreamTile stream{tile.at("rows"), tile.at("prefetch") == 1, tile.at("shift") == 1};
  StreamInputs inputs;
  std::optional<Team> part = team.first(tile.at("threads"));
  if (!part) return;
  run_row_step(a,
               {.dot = [&](const DotRows& job) { dot_stream(job, stream, inputs, team.scratch()); },
                .block = tile.at("block"),
                .batch = 32,
                .dynamic = tile.at("dynamic") == 1},
               *part);
}

std::string legal(const Tile& tile) {
  if (tile.at("threads") == 1 && tile.at("dynamic") == 1)
    return "dynamic=1: one thread has nobody to claim pieces from";
  return "";
}

std::string fits(const Tile& tile, const LayerPlan& plan, const Step& step,
                 const DeviceInfo& device) {
  const int threads = tile.at("threads");
  if (std::string why = threads_fit(tile, plan, step, device); !why.empty()) return why;
  const bool small = step.op == Op::gate_gemm && step.row_end - step.row_begin <= 16;
  if (threads == 1 && !small)
    return "threads=1: only for a gate of up to 16 rows, which is read before a thread has woken";
  // Half of the threads may draw all of the bandwidth (two share a core), an eighth never does.
  if (threads > 1 && !small && threads * 4 < device.compute_units)
    return fmt::format("threads={}: expected at least a quarter of {}, or 0 for all", threads,
                       device.compute_units);
  const bool fp8 = plan.layer.dtype == DType::fp8_block128 && step.op != Op::gate_gemm;
  if (tile.at("shift") == 0 || fp8) return "";
  return "shift=1: only fp8_block128 weights are widened by shifts";
}

Tile default_tile(const LayerPlan&, const Step&, const DeviceInfo&) {
  return {
      {{"rows", 1}, {"block", 128}, {"prefetch", 1}, {"shift", 0}, {"dynamic", 0}, {"threads", 0}}};
}

KernelDef row(const char* name, Op op) {
  return {.name = name,
          .op = op,
          .device = "cpu",
          .axes = {{"rows", {1, 4}},  // weight rows read side by side
                   {"block",
                    {64, 128, 256,
                     2048}},  // weight rows per piece of work; 2048: most models' whole experts
                   {"prefetch", {0, 1}},  // by instruction, or by the hardware alone
                   {"shift", {0, 1}},     // fp8: codes widened by shifts, or through f16
                   {"dynamic", {0, 1}},   // pieces claimed one by one, or shared evenly
                   threads_axis()},
          .legal = legal,
          .fits = fits,
          .default_tile = default_tile,
          .run_cpu = run};
}

}  // namespace

std::vector<KernelDef> cpu_stream_kernels() {
  return {row("cpu.gate_gemm.stream", Op::gate_gemm),
          row("cpu.grouped_stage1.stream", Op::grouped_stage1),
          row("cpu.grouped_stage2.stream", Op::grouped_stage2),
          row("cpu.mlp_stage1.stream", Op::mlp_stage1),
          row("cpu.mlp_stage2.stream", Op::mlp_stage2)};
}

}  // namespace fse
