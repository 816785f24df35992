#include "tuner/layer_bench.h"

namespace fse {

namespace {

LayerTrial trial_of(HostileInput input, const LayerPlan& plan, std::span<const LayerWeights> sets) {
  LayerReference reference(plan, sets[static_cast<size_t>(input.set)],
                           to_matrix(input.x, plan.tokens, plan.layer.hidden));
  return {std::move(input), std::move(reference)};
}

}  // namespace

std::vector<LayerTrial> hostile_trials(const LayerPlan& plan, std::span<const LayerWeights> sets) {
  std::vector<LayerTrial> trials;
  for (HostileInput& input : hostile_inputs(sets, plan.tokens))
    trials.push_back(trial_of(std::move(input), plan, sets));
  return trials;
}

// Ends at the first input that the layer gets wrong; the routing is that of the workload's own.
LayerCheck LayerBench::verify(std::span<const Choice> choices) {
  if (trials_.empty()) {
    trials_ = hostile_trials(plan_, workload_.sets);
    HostileInput usual{.name = "", .x = workload_.inputs.front(), .set = 0};
    trials_.insert(trials_.begin(), trial_of(std::move(usual), plan_, workload_.sets));
  }
  LayerCheck all;
  for (LayerTrial& t : trials_) {
    const float* bias = workload_.sets[static_cast<size_t>(t.input.set)].selection_bias;
    const LayerCheck check =
        verify_layer_run(*session_, plan_, choices, bias, t.reference, t.input.x, t.input.set);
    if (&t == &trials_.front()) all.routing = check.routing;
    keep_worse(all.output, check.output);
    if (check.ok()) continue;
    all.output.first_bad = t.input.name + (t.input.name.empty() ? "" : ": ") + check.reason();
    return all;
  }
  return all;
}

RunTimes LayerBench::run(std::span<const Choice> choices, int round, int set) {
  session_->enter(Stage::layer_measure);
  session_->set_input(workload_.input(round));
  if (workload_.cache == Cache::cold_all) session_->evict_caches();
  return session_->run(choices, set_of(set));
}

Load LayerBench::load(std::span<const Choice> choices, int round) {
  session_->enter(Stage::layer_measure);
  session_->set_input(workload_.input(round));
  session_->run(choices, set_of(round));
  return load_of(session_->read(Buf::topk_ids), plan_.expert_count());
}

}  // namespace fse
