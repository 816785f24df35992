// Tuned grouped stages against OpenBLAS's sgemm called per expert, on the same f32 shapes.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "core/model_import.h"
#include "core/statistics.h"
#include "core/workload.h"
#include "experiments/paths.h"
#include "kernels/backend.h"

#ifdef FSELAB_OPENBLAS
#include <cblas.h>

namespace {

using namespace fse;

// Per active expert one sgemm for gate and up, one for down; nothing but the sgemm calls is timed.
class PerExpertBlas {
 public:
  PerExpertBlas(const LayerPlan& plan, const LayerWeights& weights, int64_t busiest)
      : hidden_(plan.layer.hidden), width_(plan.shard.intermediate), weights_(weights) {
    const auto rows = static_cast<size_t>(busiest);
    const auto wide = static_cast<size_t>(std::max(hidden_, 2 * width_));
    in_.assign(rows * wide, 0.5f);
    out_.assign(rows * wide, 0.0f);
  }

  double run_us(const Load& load) {
    const auto start = std::chrono::steady_clock::now();
    for (size_t e = 0; e < load.rows_per_expert.size(); ++e)
      if (const auto rows = static_cast<int>(load.rows_per_expert[e]); rows > 0) {
        const auto index = static_cast<int64_t>(e);
        multiply(rows, 2 * width_, hidden_, weights_.gate_up + index * 8 * width_ * hidden_);
        multiply(rows, hidden_, width_, weights_.down + index * 4 * width_ * hidden_);
      }
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
        .count();
  }

 private:
  void multiply(int rows, int cols, int depth, const std::byte* matrix) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, cols, depth, 1, in_.data(), depth,
                reinterpret_cast<const float*>(matrix), depth, 0, out_.data(), cols);
  }

  const int hidden_, width_;
  const LayerWeights weights_;
  std::vector<float> in_, out_;
};

bool is_stage(const Step& step) {
  return step.op == Op::grouped_stage1 || step.op == Op::grouped_stage2;
}

// The fastest tile of both stages among all; one round each, as a round takes a second.
std::vector<Choice> tuned(Session& session, const LayerPlan& plan, const DeviceInfo& device) {
  std::vector<Choice> best = default_choices(plan, device);
  for (int i = 0; i < static_cast<int>(plan.steps.size()); ++i) {
    const Step& step = plan.steps[static_cast<size_t>(i)];
    if (!is_stage(step)) continue;
    double best_us = 1e30;
    for (const Tile& tile : tiles(*kernels_for(step.op, "cpu").back(), plan, step, device)) {
      const Choice choice{kernels_for(step.op, "cpu").back(), tile};
      const double us = session.run_step(i, choice, 0);
      if (us >= best_us) continue;
      best_us = us;
      best[static_cast<size_t>(i)] = choice;
    }
  }
  return best;
}

void prefill(benchmark::State& state, Backend& backend, const LayerWeights& weights) {
  const auto tokens = static_cast<int>(state.range(0));
  const DeviceInfo& device = backend.device();
  const Variant variant{.gate = Gate::fused, .topk = Topk::fused, .shared = Shared::slot};
  const LayerPlan plan = make_plan(weights.layer, weights.shard, variant, tokens, device);
  const auto session = backend.open(plan, {weights});
  session->set_input(plant_input(weights, draw_routing(weights.layer, {}, tokens, 1), 1));
  session->run(default_choices(plan, device), 0);
  const Load load = load_of(session->read(Buf::topk_ids), plan.expert_count());
  const std::vector<Choice> choices = tuned(*session, plan, device);
  PerExpertBlas blas(plan, weights, load.busiest());

  double flops = 0;
  for (const Step& step : plan.steps)
    if (is_stage(step)) flops += op_def(step.op).flops(plan, step, load);
  std::vector<double> ratios, ours, theirs;
  for (auto _ : state) {
    const double blas_us = blas.run_us(load);
    double us = 0;
    for (int i = 0; i < static_cast<int>(plan.steps.size()); ++i)
      if (is_stage(plan.steps[static_cast<size_t>(i)]))
        us += session->run_step(i, choices[static_cast<size_t>(i)], 0);
    ratios.push_back(blas_us / us);
    ours.push_back(flops / us * 1e-3);
    theirs.push_back(flops / blas_us * 1e-3);
    state.SetIterationTime(us * 1e-6);
  }
  state.counters["GFLOP/s"] = median(ours);
  state.counters["openblas_GFLOP/s"] = median(theirs);
  state.counters["speedup"] = median(ratios);
  std::string label;
  for (size_t i = 0; i < plan.steps.size(); ++i)
    if (is_stage(plan.steps[i]))
      label += plan.steps[i].name + "[" + to_text(choices[i].tile) + "] ";
  state.SetLabel(label);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  const auto backend = open_backend("cpu");
  LayerSpec layer = find_model("qwen3-next-80b-a3b", configs_dir()).layer;
  layer.dtype = DType::f32;
  const LayerWeights weights = random_weights(layer, make_shard(layer, 1, 0), 1).front();
  benchmark::RegisterBenchmark("prefill/f32",
                               [&](benchmark::State& s) { prefill(s, *backend, weights); })
      ->ArgName("tokens")
      ->Arg(256)
      ->Arg(1024)
      ->Arg(4096)
      ->Iterations(5)
      ->UseManualTime()
      ->Unit(benchmark::kMillisecond);
  benchmark::RunSpecifiedBenchmarks();
}

#else

#include <cstdio>

int main() {
  std::puts("skipped: built without OpenBLAS (install libopenblas-dev and configure again)");
}

#endif
