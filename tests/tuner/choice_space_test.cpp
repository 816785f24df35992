#include "tuner/choice_space.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/gpu/layer.h"
#include "small_layer.h"

using namespace fse;

namespace {

LayerSpec qwen3_next() {
  LayerSpec layer;
  layer.model = "qwen3-next-80b-a3b";
  layer.hidden = 2048;
  layer.intermediate = 512;
  layer.dtype = DType::bf16;
  layer.routing = {.experts = 512, .top_k = 10, .renormalize = true};
  layer.shared = {.count = 1, .shared_width = 512, .weight = SharedWeight::sigmoid_gate};
  return layer;
}

struct GateStep {
  DeviceInfo device = typical_gpu("sm_90");
  LayerSpec layer = qwen3_next();
  LayerPlan plan = make_plan(layer, make_shard(layer, 1, 0), {}, 16, device);
  Step step = *std::find_if(plan.steps.begin(), plan.steps.end(), [](const Step& s) {
    return s.op == Op::gate_gemm && s.row_end - s.row_begin > 16;
  });
};

}  // namespace

TEST_CASE("a space has a point for every candidate, all different, the default first") {
  const GateStep gate;
  const std::vector<Choice> all = candidates(gate.plan, gate.step, gate.device, {});
  const SearchSpace space = space_of(all, gate.plan, gate.step, gate.device);
  REQUIRE(space.points.size() == all.size());
  CHECK(std::set(space.points.begin(), space.points.end()).size() == all.size());
  for (const std::vector<int>& point : space.points) CHECK(point.size() == space.axes.size());
  const Tile preset = all[0].kernel->default_tile(gate.plan, gate.step, gate.device);
  CHECK(all[0].tile == preset);
}

TEST_CASE("the cost model knows all tiles of a GPU's products, and no kernel of the cpu's") {
  const GateStep gate;
  const std::vector<Choice> all = candidates(gate.plan, gate.step, gate.device, {});
  const SearchSpace space = space_of(all, gate.plan, gate.step, gate.device);
  REQUIRE(space.predicted_us.size() == all.size());
  for (const double us : space.predicted_us) CHECK((std::isfinite(us) && us > 0));

  const LayerSpec layer = small_layer();
  const LayerPlan plan = legal_plans(layer, 3).front();
  const Step& step = plan.steps.front();
  const auto on_cpu = candidates(plan, step, kTestDevice, {});
  CHECK(space_of(on_cpu, plan, step, kTestDevice).predicted_us.empty());
}

// What an H100 measured for this step: the first took 2.4 us, the second 16 us, the third 38 us.
TEST_CASE("the cost model orders tiles as an H100 does") {
  const GateStep gate;
  const KernelDef* kernel = find_kernel("hip.gate_gemm.stream");
  REQUIRE(kernel != nullptr);
  const auto predicted = [&](int dependent, int robin, int warps, int split, int ring, int rows,
                             int width) {
    const Tile tile{{{"dependent", dependent},
                     {"dense", 0},
                     {"robin", robin},
                     {"warps", warps},
                     {"split", split},
                     {"ring", ring},
                     {"rows", rows},
                     {"width", width}}};
    return kernel->predicted_us(tile, gate.plan, gate.step, gate.device);
  };
  const double best = predicted(1, 1, 8, 8, 6, 16, 8);
  const double slow = predicted(0, 1, 8, 1, 4, 8, 16);
  const double worst = predicted(1, 2, 8, 1, 4, 16, 32);
  CHECK(best < slow);
  CHECK(slow < worst);
}
