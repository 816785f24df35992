#include "tuner/layer_bench.h"

namespace fse {

LayerCheck LayerBench::verify(std::span<const Choice> choices) {
  const LayerWeights& weights = workload_.sets.front();
  const std::vector<float>& x = workload_.inputs.front();
  if (!reference_)
    reference_ = std::make_unique<LayerReference>(plan_, weights,
                                                  to_matrix(x, plan_.tokens, plan_.layer.hidden));
  return verify_layer_run(*session_, plan_, choices, weights.selection_bias, *reference_, x);
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
