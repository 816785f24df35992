#pragma once
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/version.h"
#include "kernels/backend.h"
#include "tests/core/store_fixture.h"

namespace fse::test {

// A study as this very fselab would have measured it on this machine's cpu, with invented times.
class MeasuredStudy {
 public:
  explicit MeasuredStudy(const std::filesystem::path& file,
                         const std::function<void(Environment&)>& change = {})
      : store(Store::create_or_open(file)), here(open_backend("cpu")->device()) {
    Environment e{.device = here,
                  .compiler = std::string(compiler_text()),
                  .git_revision = std::string(git_revision()),
                  .host_os = "Linux",
                  .read_gbs = 20,
                  .peak_gflops = 100};
    if (change) change(e);
    environment = store.add_environment(e);
  }

  // `us` of the slot and of the MLP at one token count.
  void add(int tokens, double slot_us, double mlp_us,
           RoutingDistribution routing = {.kind = RoutingKind::uniform}) {
    for (const auto& [shared, us] :
         {std::pair{Shared::slot, slot_us}, std::pair{Shared::mlp, mlp_us}}) {
      Case c = sample_case(shared, tokens);
      c.routing = routing;
      planned_.push_back({c, us});
    }
  }

  void write(const std::string& name = "dispatch") {
    std::vector<CaseRecord> cases;
    for (const auto& [c, us] : planned_) cases.push_back({.spec = c, .baseline = false});
    study = store.add_study(sample_study(name), cases);
    for (const auto& [c, us] : planned_) measure(c, us);
  }

  Store store;
  DeviceInfo here;
  int64_t environment = 0, study = 0;

 private:
  void measure(const Case& c, double us) {
    AttemptRecord a = layer_attempt(c);
    a.workload = "routing=" + to_text(c.routing) + " cache=cold_weights seed=1";
    a.outcome = verified_outcome(us);
    a.control_us = samples_around(us * 1.001);
    const LayerPlan plan = make_plan(c, here);
    const std::vector<Choice> choices = default_choices(plan, here);
    for (size_t i = 0; i < choices.size(); ++i)
      a.steps.push_back({.step = plan.steps[i].name,
                         .op = to_name(plan.steps[i].op),
                         .kernel = choices[i].kernel->name,
                         .tile = choices[i].tile,
                         .time_us = summarize(samples_around(us / 10))});
    a.load_histogram = {3, 1, 2};
    a.distinct_experts = 2.5;
    a.max_over_mean_load = 1.5;
    a.weight_sets = 3;
    a.id = store.begin_attempt(study, environment, a);
    store.finish_case(a.id, a);
  }

  std::vector<std::pair<Case, double>> planned_;
};

// The slot is better up to about 16 tokens, the MLP behind.
inline void fill_crossing(MeasuredStudy& s) {
  for (const int tokens : {1, 2, 4, 8, 32, 64, 128}) {
    const double us = 1000.0 * tokens, change = 0.05 * std::log2(tokens / 16.0);
    s.add(tokens, us * (1 + std::max(0.0, change)), us * (1 + std::max(0.0, -change)));
  }
}

// Layers of a GPU that is not here, at three token counts: the slot alone, staged, with one tile
// for the experts' first stage.
inline void fill_gpu(const std::filesystem::path& file, const std::string& product,
                     const std::string& model = "qwen3-next-80b-a3b",
                     const std::function<std::string(int)>& tile = {}) {
  Store store = Store::create_or_open(file);
  Environment e = sample_environment();
  e.device = {.name = "hip:0",
              .kind = "hip",
              .arch = "gfx942",
              .product = product,
              .compute_units = 304,
              .memory_bytes = int64_t{64} << 30,
              .llc_bytes = int64_t{256} << 20,
              .dtypes = {DType::bf16, DType::fp8_block128},
              .half_activations = true,
              .wave = 64,
              .lds_bytes = 65536,
              .block_threads = 1024};
  const int64_t environment = store.add_environment(e);
  std::vector<CaseRecord> cases;
  for (const int tokens : {1, 16, 64}) {
    Case c = sample_case(Shared::slot, tokens);
    c.layer.model = model;
    c.layer.dtype = DType::fp8_block128;
    c.device = "hip:0";
    cases.push_back({.spec = c, .baseline = true});
  }
  const int64_t study = store.add_study(sample_study(), cases);
  for (const auto& [c, baseline, state, reason] : cases) {
    AttemptRecord a = layer_attempt(c);
    a.workload = "routing=uniform cache=cold_weights seed=1";
    a.outcome = verified_outcome(100.0 * c.tokens);
    const LayerPlan plan = make_plan(c, e.device);
    const std::vector<Choice> choices = default_choices(plan, e.device);
    for (size_t i = 0; i < choices.size(); ++i) {
      const bool stage1 = plan.steps[i].op == Op::grouped_stage1;
      const std::string text =
          "dependent=1 dense=0 robin=1 warps=16 split=8 ring=3 rows=16 width=8";
      a.steps.push_back(
          {.step = plan.steps[i].name,
           .op = to_name(plan.steps[i].op),
           .kernel = choices[i].kernel->name,
           .tile = stage1 ? tile_from_text(tile ? tile(c.tokens) : text) : choices[i].tile,
           .time_us = summarize(samples_around(40.0 * c.tokens)),
           .bytes = 1e7});
    }
    a.id = store.begin_attempt(study, environment, a);
    store.finish_case(a.id, a);
  }
}

}  // namespace fse::test
