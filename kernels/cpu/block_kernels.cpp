#include <algorithm>

#include "kernels/cpu/families.h"
#include "kernels/cpu/row_steps.h"

namespace fse {
namespace {

// Packed inputs of a batch take depth * batch * 4 bytes of the second-level cache: about 400 kB of
// the 1 to 2 MB that a core has.
int64_t batch_of(int64_t depth) {
  return std::clamp<int64_t>(98304 / depth, 48, 192);
}

// Prefill: each weight is used for many tokens, so the step is as fast as the multipliers.
void run(const CpuArgs& a, const Tile& tile, Team& team) {
  const BlockTile block{tile.at("tokens"), tile.at("depth")};
  run_row_step(a,
               {.dot = [&](const DotRows& job) { dot_block(job, block, team.scratch()); },
                .block = tile.at("block"),
                .batch = batch_of(block.depth),
                .dynamic = true},
               team);
}

// Tokens that an average weight of the step is multiplied with.
double tokens_per_weight(const LayerPlan& plan, const Step& step) {
  const bool grouped = step.op == Op::grouped_stage1 || step.op == Op::grouped_stage2;
  const RoutingSpec& r = plan.layer.routing;
  return grouped ? static_cast<double>(plan.tokens) * r.top_k / r.experts : plan.tokens;
}

// A weight arrives in the time of about three multiplications by it (see row_steps.cpp): well above
// that the multipliers decide.
bool preferred(const LayerPlan& plan, const Step& step) {
  return tokens_per_weight(plan, step) >= 8;
}

Tile default_tile(const LayerPlan&, const Step&, const DeviceInfo& device) {
  const bool many_registers = device.arch.rfind("AVX3", 0) == 0 || device.arch == "NEON";
  return {{{"tokens", many_registers ? 6 : 2}, {"depth", 512}, {"block", 128}}};
}

KernelDef row(const char* name, Op op) {
  return {.name = name,
          .op = op,
          .device = "cpu",
          .axes = {{"tokens", {2, 3, 4, 6}},           // tokens in flight, times 4 weight rows
                   {"depth", {256, 512, 1024, 2048}},  // elements of a sum between two stores
                   {"block", {64, 128}}},              // weight rows per piece of work
          .legal = always_legal,
          .fits = always_fits,
          .default_tile = default_tile,
          .preferred = preferred,
          .run_cpu = run};
}

}  // namespace

std::vector<KernelDef> cpu_block_kernels() {
  return {row("cpu.gate_gemm.block", Op::gate_gemm),
          row("cpu.grouped_stage1.block", Op::grouped_stage1),
          row("cpu.grouped_stage2.block", Op::grouped_stage2),
          row("cpu.mlp_stage1.block", Op::mlp_stage1), row("cpu.mlp_stage2.block", Op::mlp_stage2)};
}

}  // namespace fse
