// The real top-k and dispatch kernels on every emulated GPU, on rows that no author expects: NaN,
// infinities, ties, one expert that takes all, experts without tokens, padding.
#include <doctest/doctest.h>

#include <set>

#include "core/op.h"
#include "kernels/backend.h"
#include "kernels/emulator/backend.h"
#include "tests/kernels/routing_rows.h"

using namespace fse;

namespace {

std::unique_ptr<Backend> emulated(const std::string& arch) {
  return open_backend("emu:" + arch, {.device_dir = FSELAB_SOURCE_DIR "/kernels/device",
                                      .cache_dir = FSELAB_TEST_CACHE});
}

// Softmax, with and without renormalisation, and sigmoid with all that comes with it. More experts
// than a wave has lanes, and no multiple of them.
std::vector<RoutingSpec> rules() {
  return {{.experts = 72, .top_k = 6, .renormalize = true},
          {.experts = 40, .top_k = 4},
          {.experts = 72,
           .top_k = 6,
           .score = ScoreFunction::sigmoid,
           .selection_bias = true,
           .groups = 8,
           .groups_kept = 4,
           .group_score = GroupScore::sum_of_top2,
           .renormalize = true,
           .scaling = 2.5}};
}

LayerSpec layer_of(const RoutingSpec& routing) {
  LayerSpec layer;
  layer.hidden = 64;
  layer.intermediate = 64;
  layer.routing = routing;
  return layer;
}

struct Run {
  LayerPlan plan;
  LayerWeights weights;
  std::unique_ptr<Session> session;
  std::vector<Choice> choices;
};

Run open_run(Backend& backend, const RoutingSpec& routing, Topk topk, const Matrix& rows,
             const std::vector<float>& bias) {
  const LayerSpec layer = layer_of(routing);
  const Shard shard = make_shard(layer, 1, 0);
  Run run{.plan = make_plan(layer, shard, {.topk = topk, .shared = Shared::none},
                            static_cast<int>(rows.rows()), backend.device()),
          .weights = clone_weights(random_weights(layer, shard, 1)[0])};
  for (size_t e = 0; e < bias.size(); ++e)
    const_cast<float*>(run.weights.selection_bias)[e] = bias[e];
  run.session = backend.open(run.plan, {run.weights});
  run.choices = default_choices(run.plan, backend.device());
  run.session->poison_buffers();
  return run;
}

void run_steps(Run& run, std::initializer_list<Op> ops, RefState& want) {
  for (size_t i = 0; i < run.plan.steps.size(); ++i) {
    const Step& step = run.plan.steps[i];
    if (std::find(ops.begin(), ops.end(), step.op) == ops.end()) continue;
    run.session->run_step(static_cast<int>(i), run.choices[i], 0);
    op_def(step.op).reference(run.plan, step, run.weights, want);
  }
}

void check_row(const Matrix& ids, const Matrix& weights, const RefState& want,
               const test::RoutedRows& rows, Eigen::Index t) {
  std::set<double> distinct;
  for (Eigen::Index j = 0; j < ids.cols(); ++j) {
    CAPTURE(j);
    CHECK(ids(t, j) >= 0);
    CHECK(ids(t, j) < rows.routing.experts);
    distinct.insert(ids(t, j));
    CHECK(std::isfinite(weights(t, j)));
    if (!rows.clear[static_cast<size_t>(t)]) continue;  // f32 may see another order
    CHECK(ids(t, j) == rows.ids(t, j));
    const double w = want[Buf::topk_weights](t, j);
    CHECK(std::fabs(weights(t, j) - w) <= 1e-5 * w + 1e-30);
  }
  CHECK(static_cast<Eigen::Index>(distinct.size()) == ids.cols());
}

}  // namespace

TEST_CASE("emulated routing of hostile rows is the reference's on every GPU, for every rule") {
  for (const std::string& arch : emulated_archs()) {
    const auto backend = emulated(arch);
    for (const RoutingSpec& routing : rules())
      for (const Topk topk : {Topk::unfused, Topk::fused}) {
        CAPTURE(arch);
        CAPTURE(routing.experts);
        CAPTURE(to_name(topk));
        const Matrix logits = test::hostile_logits(routing.experts, routing.top_k);
        const test::RoutedRows rows = test::route_rows(routing, logits);
        Run run = open_run(*backend, routing, topk, logits, rows.bias);
        run.session->write(Buf::router_logits, logits);
        RefState want;
        want[Buf::router_logits] = logits;
        run_steps(run, {Op::topk, Op::score, Op::select, Op::renormalize}, want);
        const Matrix ids = run.session->read(Buf::topk_ids);
        const Matrix weights = run.session->read(Buf::topk_weights);
        for (Eigen::Index t = 0; t < logits.rows(); ++t) {
          CAPTURE(t);
          check_row(ids, weights, want, rows, t);
        }
        // Dispatch sorts what the kernels chose, whatever it is.
        want[Buf::topk_ids] = ids;
        run_steps(run, {Op::dispatch}, want);
        CHECK(run.session->read(Buf::expert_offsets) == want[Buf::expert_offsets]);
        CHECK(run.session->read(Buf::sorted_pairs) == want[Buf::sorted_pairs]);
      }
  }
}

TEST_CASE("emulated dispatch: one expert takes all, the others are empty, rows are padding") {
  const RoutingSpec routing{.experts = 40, .top_k = 4};
  const int tokens = 37;
  struct Case {
    const char* name;
    double (*id)(int token, int choice);
  };
  const Case cases[] = {
      {"one expert takes all", [](int, int) { return 39.0; }},
      {"the same few experts", [](int, int j) { return 10.0 * j; }},
      {"every row is padding", [](int, int) { return -1.0; }},
      {"every other row is padding", [](int t, int j) { return t % 2 ? -1.0 : (t + j) % 40; }},
      {"ids outside", [](int t, int j) { return j == 1   ? 40.0
                                                : j == 2 ? 2e9
                                                         : t % 40; }}};
  for (const std::string& arch : emulated_archs()) {
    const auto backend = emulated(arch);
    for (const Case& c : cases)
      for (const int experts : {0, 4}) {  // one block sorts all, or each a few experts
        CAPTURE(arch);
        CAPTURE(c.name);
        CAPTURE(experts);
        Run run = open_run(*backend, routing, Topk::fused, Matrix(tokens, 40), {});
        for (Choice& choice : run.choices)
          if (choice.kernel->op == Op::dispatch)
            for (auto& [axis, value] : choice.tile.axes)
              if (axis == "experts") value = experts;
        RefState want;
        Matrix& ids = want[Buf::topk_ids] = Matrix(tokens, routing.top_k);
        for (int t = 0; t < tokens; ++t)
          for (int j = 0; j < routing.top_k; ++j) ids(t, j) = c.id(t, j);
        run.session->write(Buf::topk_ids, ids);
        run_steps(run, {Op::dispatch}, want);
        CHECK(run.session->read(Buf::expert_offsets) == want[Buf::expert_offsets]);
        CHECK(run.session->read(Buf::sorted_pairs) == want[Buf::sorted_pairs]);
      }
  }
}
