#pragma once
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "core/device_model.h"
#include "core/store.h"
#include "core/workload.h"
#include "tests/core/store_fixture.h"

namespace fse::test {

// Of the study's device, invented too: with it predictions stand beside measurements.
inline DeviceModel sample_model() {
  return {.name = "Some CPU",
          .compute_units = 2,
          .clock_ghz = 3,
          .memory_gb = 8,
          .peak_gbs = 25,
          .read_gbs = 20,
          .llc_mb = 32,
          .workgroup_gbs = 12,
          .bf16_tflops = 0.1,
          .gemm_share = 0.8,
          .grouped_share = 0.8,
          .launch_us = 1};
}

// A finished decode study with invented but plausible times: the slot saves launches and the shared
// MLP's own passes at few tokens, and costs at many, because the shared expert then gets a row of
// every token in the grouped kernels.
class SyntheticStudy {
 public:
  explicit SyntheticStudy(const std::filesystem::path& file)
      : store(Store::create_or_open(file)),
        environment(store.add_environment(sample_environment())) {}

  // One case of the sweep; the first call with `baseline` of a workload is what others refer to.
  void add(const Case& c, bool baseline = false, CaseState state = CaseState::pending,
           const std::string& reason = "") {
    cases.push_back({c, baseline, state, reason});
  }

  void store_study(StudyRecord record = sample_study("qwen3-next-decode")) {
    study = store.add_study(record, cases);
  }

  // `rounds` samples around `us` whose noise is shared by all attempts of the study.
  void measure(const Case& c, double us, int rounds = 25) {
    AttemptRecord a = layer_attempt(c);
    a.outcome = verified_outcome(us);
    a.outcome.accuracy.rel_frobenius = 1.3e-3;
    a.outcome.samples_us.clear();
    for (int r = 0; r < rounds; ++r)
      a.outcome.samples_us.push_back(us * (1 + 0.01 * std::sin(1.7 * r)));
    a.floor_us = us * 0.9;
    a.bytes = a.floor_us * 20.5e3;
    a.read_gbs = 20.5;
    a.peak_gflops = 100;
    a.distinct_experts = 38.4;
    a.max_over_mean_load = 3.2;
    a.load_histogram =
        load_of(draw_routing(c.layer, c.routing, c.tokens, c.seed), c.layer.routing.experts + 1)
            .rows_per_expert;
    if (c.variant.shared == Shared::slot) a.load_histogram.back() = c.tokens;
    a.steps = steps_of(c, us);
    a.id = store.begin_attempt(study, environment, a);
    store.finish_attempt(a.id, a);
    store.set_winner(a.id);
    store.set_case_state(study, a.case_id, CaseState::done, "");
  }

  static std::vector<std::pair<std::string, double>> shares(const Variant& v) {
    std::vector<std::pair<std::string, double>> all = {{"router_gate", 0.05}};
    if (v.gate == Gate::separate) all.push_back({"shared_gate", 0.005});
    if (v.topk == Topk::fused)
      all.push_back({"topk", 0.01});
    else
      for (const char* name : {"score", "select", "renormalize"}) all.push_back({name, 0.005});
    all.push_back({"dispatch", 0.01});
    all.push_back({"grouped_stage1", 0.55});
    all.push_back({"grouped_stage2", 0.29});
    all.push_back({"combine", 0.01});
    if (v.shared != Shared::slot) {
      all.push_back({"mlp_stage1", 0.02});
      all.push_back({"mlp_stage2", 0.01});
      all.push_back({"shared_add", 0.002});
    }
    return all;
  }

  static std::vector<StepTime> steps_of(const Case& c, double us) {
    std::vector<StepTime> steps;
    for (const auto& [name, share] : shares(c.variant)) {
      StepTime s{.step = name, .op = name, .kernel = "cpu." + name};
      if (name.starts_with("grouped")) s.tile.axes = {{"rows", 4}, {"cols", 8}, {"depth", 512}};
      s.time_us = summarize(samples_around(us * share));
      s.floor_us = us * share * 0.92;
      s.bytes = s.floor_us * 20.5e3;
      s.flops = s.bytes;
      steps.push_back(s);
    }
    return steps;
  }

  Store store;
  int64_t environment, study = 0;
  std::vector<CaseRecord> cases;
};

inline Case with(Case c, const Variant& v, int tokens) {
  c.variant = v;
  c.tokens = tokens;
  return c;
}

// Qwen3-Next at four token counts, all gate x topk x shared, one tokens=64 case failed and one
// GLM-like layer without a shared gate whose gate=fused is refused.
inline void fill_realistic(SyntheticStudy& s) {
  const Case qwen = sample_case();
  Case glm = sample_case();
  glm.layer.model = "glm-4.7";
  glm.layer.shared.weight = SharedWeight::constant;
  glm.layer.routing.score = ScoreFunction::sigmoid;
  glm.tp = 4;
  struct Planned {
    Case c;
    double us;
  };
  std::vector<Planned> planned;
  const std::map<int, double> base_us = {{1, 1650}, {4, 5230}, {16, 15800}, {64, 38900}};
  for (const Case& layer : {qwen, glm})
    for (const auto& [tokens, base] : base_us)
      for (const Gate gate : {Gate::separate, Gate::fused})
        for (const Topk topk : {Topk::unfused, Topk::fused})
          for (const Shared shared : {Shared::mlp, Shared::mlp_overlapped, Shared::slot}) {
            const Case c = with(layer, {gate, topk, shared}, tokens);
            const bool baseline =
                gate == Gate::separate && topk == Topk::unfused && shared == Shared::mlp;
            if (layer.tp == 4 && gate == Gate::fused) {
              s.add(c, baseline, CaseState::refused,
                    "refused: gate=fused: the layer has no shared gate to fuse");
              continue;
            }
            s.add(c, baseline);
            double us = base;
            if (gate == Gate::fused) us *= 0.994;
            if (topk == Topk::fused) us *= 0.985;
            if (shared == Shared::mlp_overlapped) us *= 0.99;
            if (shared == Shared::slot) us *= 0.965 + 0.0009 * tokens;
            planned.push_back({c, us});
          }
  s.store_study();
  for (const Planned& p : planned) {
    if (p.c.tokens == 64 && p.c.variant == Variant{Gate::fused, Topk::fused, Shared::mlp}) {
      s.store.set_case_state(s.study, case_id(p.c), CaseState::failed,
                             "wrong: out[3,17] = nan, expected 0.25");
      continue;
    }
    s.measure(p.c, p.us, p.c.tokens == 16 && p.c.variant.shared == Shared::slot ? 31 : 25);
  }
  AttemptRecord step = step_attempt();
  record(s.store, s.study, s.environment, step, verified_outcome(900));
  for (int i = 0; i < 3; ++i) {
    Outcome illegal{.status = Status::illegal,
                    .reason = "depth=4096 does not divide hidden=2048",
                    .accuracy = {},
                    .samples_us = {}};
    record(s.store, s.study, s.environment, step, illegal);
  }
}

}  // namespace fse::test
