#include "core/case.h"

#include <doctest/doctest.h>

#include <functional>
#include <set>
#include <vector>

namespace fse {
namespace {

Case example() {
  Case c;
  c.layer.model = "qwen3-next-80b-a3b";
  c.layer.hidden = 2048;
  c.layer.intermediate = 512;
  c.layer.routing = {.experts = 512, .top_k = 10, .renormalize = true};
  c.layer.shared = {.count = 1, .shared_width = 512, .weight = SharedWeight::sigmoid_gate};
  c.tokens = 4;
  c.routing = {.kind = RoutingKind::zipf, .parameter = 1.2};
  return c;
}

using Mutation = std::function<void(Case&)>;

const std::vector<Mutation>& semantic_mutations() {
  static const std::vector<Mutation> mutations = {
      [](Case& c) { c.layer.hidden = 2049; },
      [](Case& c) { c.layer.intermediate = 513; },
      [](Case& c) { c.layer.routing.experts = 511; },
      [](Case& c) { c.layer.routing.top_k = 9; },
      [](Case& c) { c.layer.routing.score = ScoreFunction::sigmoid; },
      [](Case& c) { c.layer.routing.selection_bias = true; },
      [](Case& c) { c.layer.routing.groups = 8; },
      [](Case& c) { c.layer.routing.groups_kept = 4; },
      [](Case& c) { c.layer.routing.group_score = GroupScore::sum_of_top2; },
      [](Case& c) { c.layer.routing.renormalize = false; },
      [](Case& c) { c.layer.routing.scaling = 2.5; },
      [](Case& c) { c.layer.routing.scaling = 1.0000000000000002; },
      [](Case& c) { c.layer.shared.count = 2; },
      [](Case& c) { c.layer.shared.shared_width = 1024; },
      [](Case& c) { c.layer.shared.weight = SharedWeight::constant; },
      [](Case& c) { c.layer.shared.constant = 0.4; },
      [](Case& c) { c.layer.dtype = DType::fp8_block128; },
      [](Case& c) { c.layer.activations = Activations::fp8; },
      [](Case& c) { c.variant.gate = Gate::fused; },
      [](Case& c) { c.variant.topk = Topk::fused; },
      [](Case& c) { c.variant.shared = Shared::slot; },
      [](Case& c) { c.variant.experts = Experts::fused; },
      [](Case& c) { c.variant.launch = Launch::graph; },
      [](Case& c) { c.tokens = 5; },
      [](Case& c) { c.tp = 2; },
      [](Case& c) { c.routing.kind = RoutingKind::uniform; },
      [](Case& c) { c.routing.kind = RoutingKind::dirichlet; },
      [](Case& c) { c.routing.kind = RoutingKind::trace; },
      [](Case& c) { c.routing.parameter = 1.25; },
      [](Case& c) { c.cache = Cache::warm; },
      [](Case& c) { c.device = "hip:0"; },
      [](Case& c) { c.seed = 2; },
  };
  return mutations;
}

TEST_CASE("changing any one semantic field gives another id") {
  std::set<std::string> ids{case_id(example())};
  for (size_t i = 0; i < semantic_mutations().size(); ++i) {
    CAPTURE(i);
    Case changed = example();
    semantic_mutations()[i](changed);
    CHECK(ids.insert(case_id(changed)).second);
  }
  // fused gate and fused top-k and fused experts are different things although spelled alike.
  Case gate = example(), topk = example(), experts = example();
  gate.variant.gate = Gate::fused;
  topk.variant.topk = Topk::fused;
  experts.variant.experts = Experts::fused;
  CHECK(case_id(gate) != case_id(topk));
  CHECK(case_id(topk) != case_id(experts));
}

TEST_CASE("what does not change the work does not change the id") {
  Case renamed = example();
  renamed.layer.model = "./my/config.json";
  CHECK(case_id(renamed) == case_id(example()));

  Case uniform = example(), stale = example();
  uniform.routing = {};
  stale.routing = {.kind = RoutingKind::uniform, .parameter = 1.2, .trace = "a"};
  CHECK(case_id(uniform) == case_id(stale));
}

TEST_CASE("a trace is known by its content, not by its path") {
  Case here = example(), copy = example(), other = example();
  here.routing = {.kind = RoutingKind::trace, .trace = "a.safetensors", .trace_hash = "1"};
  copy.routing = {.kind = RoutingKind::trace, .trace = "b/c.safetensors", .trace_hash = "1"};
  other.routing = {.kind = RoutingKind::trace, .trace = "a.safetensors", .trace_hash = "2"};
  CHECK(case_id(here) == case_id(copy));
  CHECK(case_id(here) != case_id(other));
}

TEST_CASE("ids are stable between builds and machines") {
  CHECK(hash_text("") == "2d06800538d394c2");  // XXH3-64 of nothing, seed 0
  CHECK(case_id(example()).size() == 16);
  CHECK(case_id(example()) == case_id(example()));
  CHECK(case_id(example()) == "94892f79417b4205");
}

TEST_CASE("routing is written as in YAML") {
  CHECK(to_text(RoutingDistribution{}) == "uniform");
  CHECK(to_text({.kind = RoutingKind::zipf, .parameter = 1.2}) == "zipf(1.2)");
  CHECK(to_text({.kind = RoutingKind::dirichlet, .parameter = 0.3}) == "dirichlet(0.3)");
  CHECK(to_text({.kind = RoutingKind::trace, .trace = "ids.safetensors"}) ==
        "trace: ids.safetensors");
}

}  // namespace
}  // namespace fse
