// The routing kernels on every kind of routing and on rows that would break a careless one. They
// read logits and ids only, so the layer's weights are as small as a layer can be.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/op_reference.h"
#include "core/weights_layout.h"
#include "kernels/backend.h"
#include "kernels/cpu/cpu_session.h"
#include "tests/kernels/routing_rows.h"

using namespace fse;
using namespace fse::test;

namespace {

struct Size {
  int experts, top_k;
};
constexpr Size kSizes[] = {{8, 2},   {60, 4},  {96, 6},   {128, 8}, {160, 8}, {192, 8},
                           {288, 8}, {384, 8}, {512, 10}, {640, 8}, {896, 16}};

// What a layer has of shared experts, and what runs them.
struct SharedCase {
  bool present, gated;
  Gate gate;
  Shared shared;
};
constexpr SharedCase kSharedCases[] = {
    {false, false, Gate::separate, Shared::none}, {true, false, Gate::separate, Shared::mlp},
    {true, true, Gate::separate, Shared::mlp},    {true, true, Gate::fused, Shared::mlp},
    {true, false, Gate::separate, Shared::slot},  {true, true, Gate::separate, Shared::slot},
    {true, true, Gate::fused, Shared::slot}};

LayerSpec layer_of(const RoutingSpec& routing, const SharedCase& shared) {
  LayerSpec layer{.model = "routing", .hidden = 1, .intermediate = 1, .routing = routing};
  if (shared.present)
    layer.shared = {.count = 2,
                    .shared_width = 2,
                    .weight = shared.gated ? SharedWeight::sigmoid_gate : SharedWeight::constant,
                    .constant = 0.75};
  return layer;
}

// Why the ids of a row are wrong; empty where they are right.
std::string id_fault(const RoutedRows& rows, const Matrix& got, Eigen::Index t) {
  const RoutingSpec& r = rows.routing;
  std::set<double> distinct, groups;
  for (int j = 0; j < r.top_k; ++j) {
    const double id = got(t, j);
    if (!(id >= 0 && id < r.experts)) return fmt::format("row {}: id {} is out of range", t, id);
    if (!distinct.insert(id).second) return fmt::format("row {}: id {} twice", t, id);
    groups.insert(std::floor(id / (r.experts / r.groups)));
    const auto at = static_cast<size_t>(t);
    if (rows.groups_clear[at] && !rows.allowed[at][static_cast<size_t>(id)])
      return fmt::format("row {}: id {} is of a group that is not kept", t, id);
    if (rows.clear[at] && id != rows.ids(t, j))
      return fmt::format("row {}: choice {} is {}, expected {}", t, j, id, rows.ids(t, j));
  }
  if (r.groups > 1 && static_cast<int>(groups.size()) > r.groups_kept)
    return fmt::format("row {}: ids of {} groups", t, groups.size());
  return "";
}

// Every element by itself: a small weight must not hide behind a large one.
std::string value_fault(const Matrix& got, const Matrix& want, double bound, const char* name) {
  for (Eigen::Index t = 0; t < want.rows(); ++t)
    for (Eigen::Index j = 0; j < want.cols(); ++j) {
      const double g = got(t, j), w = want(t, j);
      if (std::isnan(w) ? std::isnan(g) : std::fabs(g - w) <= 2 * bound * std::fabs(w) + 1e-37)
        continue;
      return fmt::format("{}[{},{}] is {}, expected {}", name, t, j, g, w);
    }
  return "";
}

// The routing steps of one plan, each on exact inputs.
struct Router {
  const RoutedRows& rows;
  LayerPlan plan;
  LayerWeights weights;
  std::unique_ptr<Session> session;
  RefState exact;  // what every step reads

  Router(Backend& backend, const RoutedRows& routed, const LayerSpec& layer, const Variant& variant)
      : rows(routed) {
    const Shard shard = make_shard(layer, 1, 0);
    plan = make_plan(layer, shard, variant, static_cast<int>(rows.logits.rows()), backend.device());
    const WeightsLayout layout = weights_layout(layer, shard);
    weights = view_weights(layer, shard, allocate_weights(layout, layout.indices, 1), 0, 0);
    if (!rows.bias.empty())
      std::copy(rows.bias.begin(), rows.bias.end(), writable(weights.selection_bias));
    // Several threads where it is cheap: on a busy machine, each launch waits for the last of them.
    DeviceInfo device = backend.device();
    device.compute_units = rows.routing.experts == 96 ? 3 : 1;
    session = std::make_unique<CpuSession>(plan, std::vector{weights}, device);
    fill_exact();
  }

  void fill_exact() {
    constexpr double kShared[] = {0, 1.5, -3, 20, -30, 88.5, -88.5, 200, -200, kInf, -kInf, kNaN};
    Matrix shared(plan.tokens, 1);
    for (int t = 0; t < plan.tokens; ++t) shared(t, 0) = kShared[t % 12];
    Matrix& logits = exact[Buf::router_logits] = rows.logits;
    if (plan.variant.gate == Gate::fused) {
      logits.conservativeResize(Eigen::NoChange, logits.cols() + 1);
      logits.rightCols(1) = shared;
    }
    exact[Buf::shared_logits] = shared;
    exact[Buf::scores] = rows.scores;
    exact[Buf::shared_weight] = (1 + (-shared.array()).exp()).inverse().matrix();
    exact[Buf::topk_ids] = Matrix::Constant(plan.tokens, plan.choices(), -1);
    exact[Buf::topk_weights] = Matrix::Constant(plan.tokens, plan.choices(), 0);
    reference::choose_from(plan, rows.scores, rows.ids, false, exact);
    for (int s = 0; s < plan.choices() - rows.routing.top_k; ++s)
      exact[Buf::topk_ids].col(rows.routing.top_k + s).setConstant(rows.routing.experts + s);
  }

  // Runs every tile of every kernel of a step; judge() says what is wrong with the results.
  template <class Judge>
  void check_step(const DeviceInfo& device, const Step& step, const Judge& judge) {
    const auto index = static_cast<int>(&step - plan.steps.data());
    for (const KernelDef* kernel : kernels_for(step.op, "cpu"))
      for (const Tile& tile : tiles(*kernel, plan, step, device)) {
        session->poison_buffers();
        for (Buf id : step.reads) session->write(id, exact[id]);
        session->run_step(index, {kernel, tile}, 0);
        const std::string fault = judge(op_def(step.op).tolerance(plan, step));
        if (!fault.empty()) FAIL_CHECK(kernel->name << " " << to_text(tile) << ": " << fault);
      }
  }
};

// Ids first, then the weights that belong to these ids by the layer's own rule.
std::string judge_choice(Router& router, double bound, bool weigh) {
  const int top_k = router.rows.routing.top_k;
  const Matrix ids = router.session->read(Buf::topk_ids);
  for (Eigen::Index t = 0; t < ids.rows(); ++t)
    if (std::string fault = id_fault(router.rows, ids, t); !fault.empty()) return fault;
  RefState want = router.exact;
  reference::choose_from(router.plan, router.rows.scores, ids, weigh, want);
  return value_fault(router.session->read(Buf::topk_weights).leftCols(top_k),
                     want[Buf::topk_weights].leftCols(top_k), bound, "topk_weights");
}

std::string judge_slots(Router& router, double bound) {
  const LayerPlan& plan = router.plan;
  const int top_k = plan.layer.routing.top_k, slots = plan.shard.slots;
  const Matrix ids = router.session->read(Buf::topk_ids).rightCols(slots);
  for (Eigen::Index t = 0; t < ids.rows(); ++t)
    for (int s = 0; s < slots; ++s)
      if (ids(t, s) != plan.layer.routing.experts + s)
        return fmt::format("row {}: slot {} has id {}", t, s, ids(t, s));
  Matrix want = Matrix::Constant(plan.tokens, slots, plan.layer.shared.constant);
  if (plan.layer.gate_rows() > 0) want = router.exact[Buf::shared_weight].replicate(1, slots);
  return value_fault(router.session->read(Buf::topk_weights).middleCols(top_k, slots), want, bound,
                     "slot weight");
}

std::string judge_append(Router& router, double bound) {
  const int top_k = router.rows.routing.top_k;
  if (router.session->read(Buf::topk_ids).leftCols(top_k) != router.rows.ids)
    return "routed ids changed";
  const std::string fault =
      value_fault(router.session->read(Buf::topk_weights).leftCols(top_k),
                  router.exact[Buf::topk_weights].leftCols(top_k), 0x1p-24, "routed weight");
  return fault.empty() ? judge_slots(router, bound) : fault;
}

// By the rule itself, on the weights as the kernel saw them.
std::string judge_renormalize(Router& router, double bound) {
  const RoutingSpec& r = router.plan.layer.routing;
  const Matrix got = router.session->read(Buf::topk_weights).leftCols(r.top_k);
  Matrix want = router.exact[Buf::topk_weights].leftCols(r.top_k).cast<float>().cast<double>();
  for (Eigen::Index t = 0; t < want.rows(); ++t) {
    const double sum = want.row(t).sum();
    if (r.renormalize) want.row(t) /= sum + kSumFloor;
  }
  return value_fault(got, want * r.scaling, bound, "topk_weights");
}

std::string judge_topk(Router& router, double bound) {
  const LayerPlan& plan = router.plan;
  if (std::string fault = judge_choice(router, bound, true); !fault.empty()) return fault;
  if (plan.has_slots()) return judge_slots(router, bound);
  if (!plan.has_mlp() || plan.layer.gate_rows() == 0) return "";
  return value_fault(router.session->read(Buf::shared_weight), router.exact[Buf::shared_weight],
                     bound, "shared_weight");
}

std::string judge(Router& router, const Step& step, double bound) {
  switch (step.op) {
    case Op::score:
      return value_fault(router.session->read(Buf::scores), router.exact[Buf::scores], bound,
                         "scores");
    case Op::select:
      return judge_choice(router, bound, false);
    case Op::renormalize:
      return judge_renormalize(router, bound);
    case Op::shared_activation:
      return value_fault(router.session->read(Buf::shared_weight), router.exact[Buf::shared_weight],
                         bound, "shared_weight");
    case Op::slot_append:
      return judge_append(router, bound);
    case Op::topk:
      return judge_topk(router, bound);
    default:
      return "";
  }
}

// Whether a step reads what this case varies: else another case has run it already. A launch costs
// more than the step itself where threads outnumber cores.
bool is_new(Op op, const RoutingSpec& r, const SharedCase& shared) {
  const bool plain_selection = !r.selection_bias && r.groups == 1;
  const bool plain_weighing = !r.renormalize && r.scaling == 1;
  switch (op) {
    case Op::topk:
      return true;
    case Op::select:  // the row stride is k, or more with slots
      return plain_weighing && !shared.gated && shared.shared != Shared::mlp;
    case Op::renormalize:
      return plain_selection && !shared.gated && shared.shared != Shared::mlp;
    case Op::score:  // the row stride is E, or one more with a fused gate
      return plain_selection && plain_weighing && shared.shared != Shared::slot;
    case Op::shared_activation:
    case Op::slot_append:
      return plain_selection && plain_weighing;
    default:
      return false;
  }
}

// Every way to weigh and to run these rows.
void check_rows(Backend& backend, const RoutedRows& rows, const SharedCase& shared) {
  for (Topk topk : {Topk::unfused, Topk::fused})
    for (bool renormalize : {false, true})
      for (double scaling : {1.0, 2.5}) {
        LayerSpec layer = layer_of(rows.routing, shared);
        layer.routing.renormalize = renormalize;
        layer.routing.scaling = scaling;
        const Variant variant{.gate = shared.gate, .topk = topk, .shared = shared.shared};
        CAPTURE(to_label(variant));
        CAPTURE(canonical_text(layer));
        Router router(backend, rows, layer, variant);
        for (const Step& step : router.plan.steps)
          if (is_new(step.op, layer.routing, shared))
            router.check_step(backend.device(), step,
                              [&](double bound) { return judge(router, step, bound); });
      }
}

std::vector<RoutingSpec> routings(Size size, ScoreFunction score) {
  std::vector<RoutingSpec> all;
  for (bool bias : {false, true}) {
    RoutingSpec r{.experts = size.experts, .top_k = size.top_k, .score = score};
    r.selection_bias = bias;
    all.push_back(r);
    r.groups = 8;
    r.groups_kept = 4;
    for (GroupScore group_score : {GroupScore::max, GroupScore::sum_of_top2}) {
      r.group_score = group_score;
      if (r.experts % 8 == 0) all.push_back(r);
    }
  }
  return all;
}

void check_all(ScoreFunction score) {
  const auto backend = open_backend("cpu");
  for (Size size : kSizes) {
    const Matrix logits = hostile_logits(size.experts, size.top_k);
    for (const RoutingSpec& routing : routings(size, score)) {
      const RoutedRows rows = route_rows(routing, logits);
      CAPTURE(size.experts);
      CAPTURE(routing.groups);
      // Ids are compared exactly almost everywhere: rows made to underflow are left out, and with
      // many experts those where a score plus a bias comes close to another such sum.
      CHECK(4 * std::count(rows.clear.begin(), rows.clear.end(), true) >= 3 * logits.rows());
      for (const SharedCase& shared : kSharedCases) check_rows(*backend, rows, shared);
    }
  }
}

// Planted ids reach both ends of the expert axis; rows of invalid ids leave pairs to nobody.
void check_dispatch(Backend& backend, Size size, const SharedCase& shared) {
  const RoutingSpec routing{.experts = size.experts, .top_k = size.top_k};
  const RoutedRows rows = route_rows(routing, hostile_logits(size.experts, size.top_k));
  Router router(backend, rows, layer_of(routing, shared), {.shared = shared.shared});
  Matrix& ids = router.exact[Buf::topk_ids];
  ids(1, 0) = -1;
  ids(2, 1) = router.plan.expert_count();
  ids.row(5).setConstant(-1);
  for (const Step& step : router.plan.steps) {
    if (step.op != Op::dispatch) continue;
    RefState want = router.exact;
    op_def(step.op).reference(router.plan, step, router.weights, want);
    router.check_step(backend.device(), step, [&](double) {
      for (Buf id : step.writes)
        if (router.session->read(id) != want[id]) return to_name(id) + " differ";
      return std::string();
    });
  }
}

}  // namespace

TEST_CASE("dispatch sorts the pairs of every size, with and without slots") {
  const auto backend = open_backend("cpu");
  for (Size size : kSizes)
    for (const SharedCase& shared : kSharedCases) {
      CAPTURE(size.experts);
      if (!shared.gated) check_dispatch(*backend, size, shared);
    }
}

TEST_CASE("softmax routing: every kernel and tile, on every row") {
  check_all(ScoreFunction::softmax);
}

TEST_CASE("sigmoid routing: every kernel and tile, on every row") {
  check_all(ScoreFunction::sigmoid);
}
