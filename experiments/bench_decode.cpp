// How close a tuned decode layer comes to the memory's streaming bandwidth. `--avx2`: with AVX2
// alone, however much more the machine has.
#include <benchmark/benchmark.h>
#include <hwy/targets.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string_view>

#include "core/model_import.h"
#include "core/statistics.h"
#include "core/workload.h"
#include "experiments/paths.h"
#include "kernels/backend.h"
#include "kernels/cpu/measure.h"

namespace {

using namespace fse;

LayerSpec qwen3_next(DType dtype) {
  LayerSpec layer = find_model("qwen3-next-80b-a3b", configs_dir()).layer;
  layer.dtype = dtype;
  return layer;
}

constexpr int kInputs = 8;
constexpr int64_t kStreamBytes = int64_t{1} << 30;
constexpr int64_t kPassBytes = kStreamBytes / 4;

// Weights of one dtype at a time: f32 takes 6.4 GB.
struct Bench {
  std::unique_ptr<Backend> backend = open_backend("cpu");
  HostBuffer stream{kStreamBytes};
  DType dtype = DType::f32;
  std::vector<LayerWeights> sets;

  // Memory that was never written is one page of zeros, always in cache.
  Bench() { std::fill(stream.data(), stream.data() + stream.bytes(), std::byte{1}); }

  void load(DType wanted) {
    if (!sets.empty() && dtype == wanted) return;
    sets.clear();
    dtype = wanted;
    const LayerSpec layer = qwen3_next(dtype);
    sets = random_weights(layer, make_shard(layer, 1, 0), 1, 3);
  }
};

// What the layer must read: the router and the experts that got a token.
double weight_bytes_touched(const LayerPlan& plan, const Matrix& ids) {
  const Load load = load_of(ids, plan.expert_count());
  double bytes = 0;
  for (const Step& step : plan.steps) {
    if (step.op != Op::gate_gemm && step.op != Op::grouped_stage1 && step.op != Op::grouped_stage2)
      continue;
    bytes += op_def(step.op).bytes(plan, step, load);
    for (const auto* list : {&step.reads, &step.writes})
      for (Buf id : *list) bytes -= static_cast<double>(plan.find(id)->bytes());
  }
  return bytes;
}

struct Candidate {
  Choice choice;
  double us = 1e30;
};

// Best of `rounds`, all candidates in each round: a slow second hits all of them. Best first. Every
// run has the next weight set: the last one's may still be in cache.
void race(Session& session, int step, int sets, int rounds, std::vector<Candidate>& candidates) {
  for (Candidate& c : candidates) c.us = 1e30;
  int runs = 0;
  for (int round = 0; round < rounds; ++round)
    for (Candidate& c : candidates)
      c.us = std::min(c.us, session.run_step(step, c.choice, runs++ % sets));
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.us < b.us; });
}

// The fastest tile of each step: all of them for a few rounds, then the best six for more.
std::vector<Choice> tuned(Session& session, const LayerPlan& plan, const DeviceInfo& device,
                          int sets) {
  std::vector<Choice> best = default_choices(plan, device);
  for (int i = 0; i < static_cast<int>(plan.steps.size()); ++i) {
    const Step& step = plan.steps[static_cast<size_t>(i)];
    std::vector<Candidate> candidates;
    for (const KernelDef* kernel : kernels_for(step.op, "cpu"))
      for (const Tile& tile : tiles(*kernel, plan, step, device))
        candidates.push_back({{kernel, tile}});
    race(session, i, sets, 4, candidates);
    candidates.resize(std::min<size_t>(candidates.size(), 6));
    race(session, i, sets, 15, candidates);
    best[static_cast<size_t>(i)] = candidates.front().choice;
    session.run_step(i, candidates.front().choice, 0);  // what follows reads its results
  }
  return best;
}

void decode(benchmark::State& state, Bench& bench, DType dtype) {
  const auto tokens = static_cast<int>(state.range(0));
  bench.load(dtype);
  const auto sets = static_cast<int>(bench.sets.size());
  const LayerSpec layer = qwen3_next(dtype);
  const DeviceInfo& device = bench.backend->device();
  const Variant variant{.gate = Gate::fused, .topk = Topk::fused, .shared = Shared::slot};
  const LayerPlan plan = make_plan(layer, bench.sets[0].shard, variant, tokens, device);
  const auto session = bench.backend->open(plan, bench.sets);

  std::vector<std::vector<float>> inputs;
  for (uint64_t i = 0; i < kInputs; ++i)
    inputs.push_back(plant_input(bench.sets[0], draw_routing(layer, {}, tokens, i), i));
  session->set_input(inputs[0]);
  session->run(default_choices(plan, device), 0);
  const std::vector<Choice> choices = tuned(*session, plan, device, sets);

  std::vector<double> ratios, layer_gbs, stream_gbs;
  int64_t round = 0;
  for (auto _ : state) {
    const std::byte* begin = bench.stream.data() + round % 4 * kPassBytes;
    const double stream_s =
        stream_through({begin, static_cast<size_t>(kPassBytes)}, device.compute_units);
    session->set_input(inputs[static_cast<size_t>(round % kInputs)]);
    const double layer_s = session->run(choices, static_cast<int>(round % sets)).layer_us * 1e-6;
    const double bytes = weight_bytes_touched(plan, session->read(Buf::topk_ids));
    layer_gbs.push_back(bytes / layer_s * 1e-9);
    stream_gbs.push_back(static_cast<double>(kPassBytes) / stream_s * 1e-9);
    ratios.push_back(layer_gbs.back() / stream_gbs.back());
    state.SetIterationTime(layer_s);
    ++round;
  }
  state.counters["layer_GB/s"] = median(layer_gbs);
  state.counters["stream_GB/s"] = median(stream_gbs);
  state.counters["ratio"] = median(ratios);
  state.counters["ratio_of_best"] = *std::max_element(layer_gbs.begin(), layer_gbs.end()) /
                                    *std::max_element(stream_gbs.begin(), stream_gbs.end());
  std::string label;
  for (size_t i = 0; i < plan.steps.size(); ++i)
    if (choices[i].tile.axes.size() > 2)
      label += plan.steps[i].name + "[" + to_text(choices[i]) + "] ";
  state.SetLabel(label);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (argc > 1 && std::string_view(argv[1]) == "--avx2") {
    hwy::DisableTargets(HWY_AVX2 - 1);  // a better target is a lower bit
    --argc, ++argv;
  }
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  Bench bench;
  benchmark::AddCustomContext("simd", bench.backend->device().arch);
  for (DType dtype : {DType::fp8_block128, DType::bf16, DType::f32})
    benchmark::RegisterBenchmark(("decode/" + to_name(dtype)).c_str(),
                                 [&bench, dtype](benchmark::State& s) { decode(s, bench, dtype); })
        ->ArgName("tokens")
        ->Arg(1)
        ->Arg(4)
        ->Arg(16)
        ->Iterations(41)
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
  benchmark::RunSpecifiedBenchmarks();
}
