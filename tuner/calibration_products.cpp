#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "core/error.h"
#include "tuner/calibration.h"
#include "tuner/calibration_tiles.h"
#include "tuner/calibration_values.h"

namespace fse {
namespace {

constexpr int kLarge = 256;  // tokens: products of fewer are about memory

LayerSpec product_layer(int hidden, int intermediate) {
  LayerSpec layer{.model = "calibration", .hidden = hidden, .intermediate = intermediate};
  layer.routing = {.experts = 8, .top_k = 2, .renormalize = true};
  layer.shared = {.count = 1, .shared_width = intermediate};
  return layer;
}

bool is_product(Op op) {
  return op == Op::mlp_stage1 || op == Op::mlp_stage2 || op == Op::grouped_stage1 ||
         op == Op::grouped_stage2;
}

void add_products(Workbench& bench, const LayerSpec& layer, int tokens, const CalibrationSpec& spec,
                  bool tuned, Calibration& result) {
  const DeviceInfo& info = bench.device();
  const Variant variant{.launch = info.graph ? Launch::graph : Launch::stream};
  Case at{.layer = layer, .variant = variant, .tokens = tokens, .routing = {}};
  at.device = info.name;
  const Shard shard = measured_shard(layer, 1);
  const int sets = plan_rotation(layer, shard, info, Cache::cold_weights).sets;
  bench.set_workload({.spec = at, .sets = sets, .rounds = 2});
  const LayerPlan plan = make_plan(layer, shard, variant, tokens, info);
  std::vector<Choice> choices = default_choices(plan, info);
  const auto runner = bench.open(variant);
  // The last step first: all kernels are compiled at once for it.
  runner->open_step(plan.steps.size() - 1, choices);
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    if (!is_product(step.op)) continue;
    if (tuned) choices[i] = fastest_choice(*runner, plan, i, choices, info);
    const auto timed = runner->open_step(i, choices);
    int round = 0;
    const Summary us =
        repeated(spec.repeats, [&] { return timed->time_us(choices[i], round++ % 2); });
    const bool up = step.op == Op::mlp_stage1 || step.op == Op::grouped_stage1;
    const double flops = timed->work().flops;
    result.matrix.push_back({.op = to_name(step.op),
                             .tokens = tokens,
                             .n = up ? 2 * layer.intermediate : layer.hidden,
                             .k = up ? layer.hidden : layer.intermediate,
                             .us = us,
                             .tflops = {.median = flops / us.median * 1e-6,
                                        .lo = flops / us.hi * 1e-6,
                                        .hi = flops / us.lo * 1e-6,
                                        .n = us.n}});
  }
}

// The best share of the peak that products of one kind reach. Where the time was over before one
// that is large enough, what the matrix units do out of registers: no product does more.
CalibratedValue best_share(const Calibration& c, bool grouped) {
  const double peak = c.find("bf16_tflops")->value.median;
  const auto share = [&](double tflops) { return std::clamp(tflops / peak, 0.01, 1.0); };
  Summary best;
  for (const MatrixPoint& point : c.matrix)
    if (point.op.starts_with("grouped") == grouped && point.tokens >= kLarge &&
        point.tflops.median > best.median)
      best = point.tflops;
  const std::string field = grouped ? "grouped_share" : "gemm_share";
  if (best.n == 0)
    return {field, told(share(c.register_tflops)),
            "no large product was timed: the matrix units out of registers, of bf16_tflops",
            "inferred"};
  return {field,
          {.median = share(best.median), .lo = share(best.lo), .hi = share(best.hi), .n = best.n},
          std::string("best ") + (grouped ? "grouped" : "dense") +
              " product of the grid, the best of a few tiles, of bf16_tflops"};
}

// What both grouped stages take of next to nothing: the smallest width, one token.
Summary least_grouped(const Calibration& c) {
  Summary least;
  for (size_t i = 0; i + 1 < c.matrix.size(); ++i) {
    const MatrixPoint &up = c.matrix[i], &down = c.matrix[i + 1];
    if (up.tokens != 1 || up.op != "grouped_stage1" || down.op != "grouped_stage2") continue;
    const Summary both = sum(up.us, down.us);
    if (least.n == 0 || both.median < least.median) least = both;
  }
  return least;
}

// What a product of one token takes beyond its weights and its launch: loads before the work, the
// reduction, the store. The least of the grid: no kernel of it needs more.
std::optional<Summary> ramp_of_products(const Calibration& c) {
  std::optional<Summary> least;
  const Summary& launch = c.find("launch_us")->value;
  for (const MatrixPoint& p : c.matrix) {
    if (p.op.starts_with("grouped") || p.tokens != 1) continue;
    const double read = 2.0 * p.n * p.k / (c.find("read_gbs")->value.median * 1e3);
    const Summary ramp = difference(shifted(p.us, -read), launch);
    if (!least || ramp.median < least->median) least = ramp;
  }
  return least;
}

}  // namespace

void calibrate_matrix(Workbench& bench, const CalibrationSpec& spec, Calibration& result) {
  const bool cpu = bench.device().kind == "cpu";
  const auto or_else = [](const std::vector<int>& given, std::vector<int> usual) {
    return given.empty() ? usual : given;
  };
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  // The largest first, at many tokens: the shares of the peak are theirs.
  int left_out = 0;
  for (const int intermediate :
       or_else(spec.intermediate, cpu ? std::vector{512, 128} : std::vector{1024, 128}))
    for (const int hidden : or_else(spec.hidden, cpu ? std::vector{1024} : std::vector{4096, 2048}))
      for (const int tokens :
           or_else(spec.tokens, cpu ? std::vector{256, 1, 64} : std::vector{2048, 1, 512, 64})) {
        if (!result.matrix.empty() && seconds() > spec.matrix_seconds) {
          ++left_out;
          continue;
        }
        const bool largest = result.matrix.empty() && tokens >= kLarge;
        add_products(bench, product_layer(hidden, intermediate), tokens, spec, largest, result);
      }
  if (left_out > 0)
    result.notes.push_back(fmt::format("matrix: {} shapes left out, the time was over", left_out));
  check(result.find("bf16_tflops") != nullptr, "the memory is calibrated first");
  result.values.push_back(best_share(result, false));
  result.values.push_back(best_share(result, true));
  if (const auto ramp = ramp_of_products(result))
    result.values.push_back(
        {"ramp_us", *ramp, "the fastest dense product of one token, less its weights and launch"});
  result.values.push_back({"grouped_us", least_grouped(result),
                           "both grouped stages of one token and the smallest width"});
}

}  // namespace fse
