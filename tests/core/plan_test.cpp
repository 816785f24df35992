#include "core/plan.h"

#include <doctest/doctest.h>

#include <set>

#include "core/error.h"
#include "core/op.h"

using namespace fse;

namespace {

const DeviceInfo kCpu{.name = "cpu", .kind = "cpu", .dtypes = {DType::bf16, DType::fp8_block128}};

LayerSpec qwen3_next() {
  LayerSpec layer;
  layer.model = "qwen3-next";
  layer.hidden = 2048;
  layer.intermediate = 512;
  layer.routing = {.experts = 512, .top_k = 10, .renormalize = true};
  layer.shared = {.count = 1, .shared_width = 512, .weight = SharedWeight::sigmoid_gate};
  return layer;
}

LayerPlan plan_of(const Variant& variant, LayerSpec layer = qwen3_next(), int tokens = 4) {
  return make_plan(layer, make_shard(layer, 1, 0), variant, tokens, kCpu);
}

std::vector<std::string> step_names(const LayerPlan& plan) {
  std::vector<std::string> names;
  for (const Step& step : plan.steps) names.push_back(step.name);
  return names;
}

}  // namespace

TEST_CASE("the baseline launches every part apart") {
  const LayerPlan plan = plan_of({});
  CHECK(step_names(plan) ==
        std::vector<std::string>{"router_gate", "shared_gate", "score", "select", "renormalize",
                                 "shared_activation", "mlp_stage1", "mlp_stage2", "dispatch",
                                 "grouped_stage1", "grouped_stage2", "combine", "shared_add"});
  CHECK(plan.expert_count() == 512);
  CHECK(plan.choices() == 10);
}

TEST_CASE("the fused shared expert needs six launches") {
  const LayerPlan plan =
      plan_of({.gate = Gate::fused, .topk = Topk::fused, .shared = Shared::slot});
  CHECK(step_names(plan) == std::vector<std::string>{"fused_gate", "topk", "dispatch",
                                                     "grouped_stage1", "grouped_stage2",
                                                     "combine"});
  CHECK(plan.expert_count() == 513);
  CHECK(plan.choices() == 11);
  CHECK(plan.find(Buf::router_logits)->cols == 513);
  CHECK(plan.find(Buf::shared_out) == nullptr);
}

TEST_CASE("steps wait for what they read and for the readers of what they overwrite") {
  for (const Variant& variant : all_variants()) {
    if (!check(qwen3_next(), variant, kCpu).empty()) continue;
    CAPTURE(to_label(variant));
    const LayerPlan plan = plan_of(variant);
    for (size_t i = 0; i < plan.steps.size(); ++i) {
      for (int before : plan.steps[i].after) CHECK(before < static_cast<int>(i));
      for (Buf id : plan.steps[i].reads) {
        if (id == Buf::x) continue;
        bool produced = false;
        for (int before : plan.steps[i].after)
          for (Buf written : plan.steps[static_cast<size_t>(before)].writes)
            produced |= written == id;
        CAPTURE(plan.steps[i].name);
        CHECK(produced);
      }
    }
    CHECK(plan.steps.back().writes == std::vector<Buf>{Buf::out});
  }
}

TEST_CASE("only the overlapped variant has a second stream, joined before the add") {
  const LayerPlan plan = plan_of({.shared = Shared::mlp_overlapped});
  std::set<std::string> second;
  for (const Step& step : plan.steps)
    if (step.stream == 1) second.insert(step.name);
  CHECK(second == std::set<std::string>{"mlp_stage1", "mlp_stage2"});
}

TEST_CASE("what is not legal is refused with every reason") {
  const Variant variant{.shared = Shared::none, .launch = Launch::graph};
  CHECK_THROWS_WITH_AS(plan_of(variant),
                       "refused: shared=none: the layer has a shared expert; launch=graph: cpu has "
                       "no graph replay",
                       Refused);
  CHECK_THROWS_WITH_AS(plan_of({}, qwen3_next(), 0), "tokens is 0, expected at least 1", Error);
}

TEST_CASE("the same work in two variants has the same key, other work another") {
  const LayerPlan a = plan_of({.shared = Shared::mlp});
  const LayerPlan b = plan_of({.topk = Topk::fused, .shared = Shared::mlp_overlapped});
  const LayerPlan c = plan_of({.shared = Shared::slot});
  const auto key = [](const LayerPlan& plan, const std::string& name) {
    for (const Step& step : plan.steps)
      if (step.name == name) return step_key(plan, step);
    return std::string();
  };
  CHECK(key(a, "grouped_stage1") == key(b, "grouped_stage1"));
  CHECK(key(a, "grouped_stage1") != key(c, "grouped_stage1"));
  CHECK(key(a, "grouped_stage1") != key(plan_of({}, qwen3_next(), 8), "grouped_stage1"));
  CHECK(key(a, "router_gate") != key(a, "shared_gate"));
}

TEST_CASE("bytes follow from the active experts: Qwen3-Next in bf16 and fp8") {
  const LayerPlan plan = plan_of({}, qwen3_next(), 1);
  // 3 * 512 * 2048 * 2 bytes = 6.29 MB an expert; 513 of them and a router of 513 rows: 3.23 GB.
  CHECK(expert_bytes(plan.layer, plan.shard) == 6291456);
  CHECK(weight_bytes(plan.layer, plan.shard) == 513 * 6291456LL + 513 * 2048 * 2);
  Load load;
  load.rows_per_expert.assign(512, 0);
  for (size_t e = 0; e < 10; ++e) load.rows_per_expert[e] = 1;
  CHECK(layer_work(plan, load).bytes == 11 * 6291456.0 + 513 * 2048 * 2 + 8 * 2048);
  LayerSpec fp8 = qwen3_next();
  fp8.dtype = DType::fp8_block128;
  // One byte an element and 3 * 4 * 16 scales of 4 bytes.
  CHECK(expert_bytes(fp8, make_shard(fp8, 1, 0)) == 3145728 + 768);
}

TEST_CASE("the floor of a layer is the same for all its variants") {
  Load load;
  load.rows_per_expert.assign(512, 1);
  Load with_slot = load;
  with_slot.rows_per_expert.push_back(4);
  const Work mlp = layer_work(plan_of({}), load);
  const Work slot = layer_work(plan_of({.shared = Shared::slot}), with_slot);
  CHECK(mlp.bytes == slot.bytes);
  CHECK(mlp.flops == slot.flops);
}
