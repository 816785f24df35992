#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "core/rival.h"
#include "kernels/gpu/layer.h"
#include "reference_session.h"
#include "small_layer.h"
#include "tests/temporary_folder.h"
#include "tuner/step_bench.h"
#include "tuner/tune.h"

using namespace fse;

namespace {

LayerSpec bf16_layer() {
  LayerSpec layer = small_layer();
  layer.dtype = DType::bf16;
  return layer;
}

DeviceInfo gpu_with_library() {
  DeviceInfo device = typical_gpu("sm_90");
  device.library = "cuBLASLt 13.1.0";
  return device;
}

// A search of mlp_stage1 on a GPU whose own kernels take 100 us, and its library what it is told.
struct Bench {
  LayerSpec layer = bf16_layer();
  DeviceInfo device = gpu_with_library();
  LayerPlan plan = make_plan(layer, make_shard(layer, 1, 0), {}, 3, device);
  Workload workload = small_workload(layer, 3);
  ReferenceSession session{plan, workload.sets};
  test::TemporaryFolder folder;
  Store store = Store::create_or_open(folder / "library.db");
  Ledger ledger{.store = store};
  std::vector<AttemptRecord> attempts;
  TuneControl control;
  size_t step = 0;
  double library_us;

  explicit Bench(double us) : library_us(us) {
    ledger.environment =
        store.add_environment({.device = device, .read_gbs = 1000, .peak_gflops = 1000});
    ledger.study = store.add_study({.name = "tune", .plan_hash = "0"}, {});
    ledger.workload = "routing=uniform cache=cold_weights seed=1";
    while (plan.steps[step].op != Op::mlp_stage1) ++step;
    session.time_us = [this](int, const Choice& choice, int call) {
      const double us = choice.kernel && is_library(choice.kernel->name)
                            ? library_us + choice.tile.at("algo")
                            : 100;
      return us + 0.01 * (call % 7);
    };
    control.progress = [this](const AttemptRecord& record) { attempts.push_back(record); };
  }
  Choice tune(const TuneSpec& spec) {
    StepBench bench(session, plan, step, std::vector<Choice>(plan.steps.size()), workload);
    return tune_step(bench, plan, plan.steps[step], device, spec, ledger, control);
  }
  std::optional<Rival> rival_of(const Choice& choice) const {
    return find_rival(store, step_key(plan, plan.steps[step]), ledger.workload, ledger.environment,
                      choice.kernel->name, choice.tile);
  }
  int64_t library_attempts() const {
    return std::count_if(attempts.begin(), attempts.end(),
                         [](const AttemptRecord& a) { return is_library(a.kernel); });
  }
};

}  // namespace

TEST_CASE("a library ten times slower is in the finals, and what it was beaten by is a number") {
  Bench bench(1000);
  const Choice best = bench.tune({.strategy = Strategy::random, .evaluations = 6});
  CHECK_FALSE(is_library(best.kernel->name));
  CHECK(bench.library_attempts() >= 5);  // four screened, the best of them once more
  const auto rival = bench.rival_of(best);
  REQUIRE(rival);
  CHECK(rival->kernel == "hip.mlp_stage1.library");
  CHECK(rival->tile == Tile{{{"workspace_mb", 32}, {"algo", 0}}});
  CHECK(rival->comparison.verdict == Verdict::faster);
  CHECK(rival->comparison.ratio.median == doctest::Approx(0.1).epsilon(0.01));
  CHECK(rival->comparison.ratio.hi < 0.11);
  CHECK(rival->time_us.n >= 6);
}

TEST_CASE("a library that is faster wins its step, against the best kernel of fselab's own") {
  Bench bench(50);
  const Choice best = bench.tune({.strategy = Strategy::random, .evaluations = 6});
  CHECK(best.kernel->name == "hip.mlp_stage1.library");
  const auto rival = bench.rival_of(best);
  REQUIRE(rival);
  CHECK_FALSE(is_library(rival->kernel));
  CHECK(rival->comparison.ratio.median == doctest::Approx(0.5).epsilon(0.01));
  CHECK(rival->comparison.verdict == Verdict::faster);
}

TEST_CASE("a wrong library is no rival, however fast") {
  Bench bench(1);
  bench.session.fault = [](int, const Choice& choice, RefState& state) {
    if (choice.kernel && is_library(choice.kernel->name)) state[Buf::shared_h](0, 0) += 1;
  };
  const Choice best = bench.tune({.strategy = Strategy::random, .evaluations = 6});
  CHECK_FALSE(is_library(best.kernel->name));
  CHECK_FALSE(bench.rival_of(best));
  CHECK(bench.library_attempts() == 4);
}

TEST_CASE("without its library a device's search and its rivals are as before") {
  Bench bench(1);
  bench.device.library = std::nullopt;
  const Choice best = bench.tune({.strategy = Strategy::random, .evaluations = 6});
  CHECK(bench.library_attempts() == 0);
  CHECK_FALSE(bench.rival_of(best));
  Bench untuned(1);
  untuned.tune({.strategy = Strategy::none});
  CHECK(untuned.library_attempts() == 0);
}

TEST_CASE("a ranked search with a library among its candidates keeps its cost model") {
  Bench bench(1000);
  const Step& step = bench.plan.steps[bench.step];
  const auto all = candidates(bench.plan, step, bench.device, {});
  const SearchSpace space = space_of(all, bench.plan, step, bench.device);
  REQUIRE(space.predicted_us.size() == all.size());
  for (const double us : space.predicted_us) CHECK((std::isfinite(us) && us > 0));
}
