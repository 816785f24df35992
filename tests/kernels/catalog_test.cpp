#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "core/error.h"
#include "tests/kernels/cpu_fixture.h"

using namespace fse;
using fse::test::layer_of;

TEST_CASE("catalogue rows are complete and their names unique") {
  std::set<std::string> names;
  for (const KernelDef& def : catalog()) {
    CAPTURE(def.name);
    CHECK(names.insert(def.name).second);
    CHECK(def.name.rfind(def.device + ".", 0) == 0);
    CHECK(bool(def.legal != nullptr));
    CHECK(bool(def.fits != nullptr));
    CHECK(bool(def.default_tile != nullptr));
    if (def.device == "cpu") CHECK(bool(def.run_cpu != nullptr));
    for (const Axis& axis : def.axes) CHECK(!axis.values.empty());
  }
  for (const auto& [op, name] : kNames<Op>) {
    CAPTURE(name);
    CHECK(kernels_for(op, "cpu").empty() == (op == Op::layer));
    CHECK(!kernels_for(op, "hip").empty());
  }
}

TEST_CASE("default tiles are legal, fit, and lead the list; lists can be searched exhaustively") {
  const auto backend = open_backend("cpu");
  const DeviceInfo& device = backend->device();
  const LayerSpec qwen = layer_of({2048, 512, 512, 10, 512}, DType::bf16);
  const LayerSpec odd = layer_of({80, 24, 10, 4, 48}, DType::fp8_block128);
  for (const LayerSpec& layer : {qwen, odd})
    for (int tokens : {1, 16, 4096})
      for (Shared shared : {Shared::mlp, Shared::slot}) {
        const LayerPlan plan =
            make_plan(layer, make_shard(layer, 1, 0), {.shared = shared}, tokens, device);
        for (const Step& step : plan.steps)
          for (const KernelDef* kernel : kernels_for(step.op, "cpu")) {
            CAPTURE(kernel->name);
            const Tile tile = kernel->default_tile(plan, step, device);
            CHECK(kernel->legal(tile) == "");
            CHECK(kernel->fits(tile, plan, step, device) == "");
            const std::vector<Tile> all = tiles(*kernel, plan, step, device);
            CHECK(all.front() == tile);
            CHECK(all.size() <= 64);
            for (size_t i = 1; i < all.size(); ++i) CHECK(!(all[i] == tile));
            for (const Tile& t : all) CHECK(tile_from_text(to_text(t)) == t);
          }
      }
}

TEST_CASE("a device that is not here is an error that names what is") {
  CHECK_THROWS_WITH_AS(open_backend("hip:7"),
                       doctest::Contains("device 'hip:7' cannot be used here ("), Error);
  CHECK_THROWS_WITH_AS(open_backend("hip:x"),
                       doctest::Contains("device 'hip:x' cannot be used here; there is: "), Error);
  const auto names = device_names();  // `auto` takes the first: never an emulated device
  CHECK(std::count(names.begin(), names.end(), "cpu") == 1);
  CHECK(names.front().starts_with("emu:") == false);
  CHECK(names.back() == "emu:sm_90");
}
