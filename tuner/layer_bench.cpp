#include "tuner/layer_bench.h"

namespace fse {

namespace {

std::vector<LayerTrial> make_trials(const LayerPlan& plan, const Workload& workload) {
  std::vector<HostileInput> inputs{{.name = "", .x = workload.inputs.front(), .set = 0}};
  for (HostileInput& hostile : hostile_inputs(workload.sets, plan.tokens))
    inputs.push_back(std::move(hostile));
  std::vector<LayerTrial> trials;
  for (HostileInput& input : inputs) {
    const LayerWeights& weights = workload.sets[static_cast<size_t>(input.set)];
    LayerReference reference(plan, weights, to_matrix(input.x, plan.tokens, plan.layer.hidden));
    trials.push_back({std::move(input), std::move(reference)});
  }
  return trials;
}

}  // namespace

// Ends at the first input that the layer gets wrong; the routing is that of the workload's own.
LayerCheck LayerBench::verify(std::span<const Choice> choices) {
  if (trials_.empty()) trials_ = make_trials(plan_, workload_);
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
  session_->set_input(input(round));
  if (workload_.cache == Cache::cold_all) session_->evict_caches();
  return session_->run(choices, set_of(set));
}

Load LayerBench::load(std::span<const Choice> choices, int round) {
  session_->enter(Stage::layer_measure);
  session_->set_input(input(round));
  session_->run(choices, set_of(round));
  return load_of(session_->read(Buf::topk_ids), plan_.expert_count());
}

}  // namespace fse
