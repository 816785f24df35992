#include "core/kernel_inventory.h"

#include <doctest/doctest.h>

#include "core/serving_model.h"

namespace fse {
namespace {

ServingCase small() {
  ServingCase c;
  c.shape = {.layers = 1, .hidden = 1024, .heads = 8, .kv_heads = 2, .head_dim = 64};
  c.layer.hidden = 1024;
  c.layer.intermediate = 256;
  c.layer.routing.experts = 16;
  c.layer.routing.top_k = 2;
  c.layer.shared = {.count = 1, .shared_width = 512, .weight = SharedWeight::sigmoid_gate};
  c.tp = 2;
  return c;
}

DeviceModel device() {
  DeviceModel d;
  d.read_gbs = 1000;
  d.workgroup_gbs = 10;
  d.bf16_tflops = 100;
  d.gemm_share = 0.5;
  d.launch_us = 2;
  d.event_us = 1;
  d.interference = 0.1;
  return d;
}

InventoryKernel kernel(const char* name, const char* width) {
  return {.name = name, .width = *parse_width(width)};
}

double total(const std::vector<KernelTime>& times) {
  double us = 0;
  for (const KernelTime& time : times) us += time.us;
  return us;
}

}  // namespace

TEST_CASE("a width is a sum of products of numbers and dims, each of one rank") {
  const ServingCase c = small();
  CHECK(value_of(*parse_width("hidden"), c) == 1024);
  CHECK(value_of(*parse_width("2*shared_width"), c) == 512);
  CHECK(value_of(*parse_width(" query_width + kv_width "), c) == 8 * 64 / 2 + 2 * 64);
  CHECK(value_of(*parse_width("2 * 3 * gate_rows + 0.5*experts"), c) == 6 + 8);
  for (const char* text : {"", " ", "+", "hidden +", "2**hidden", "hidden hidden", "-hidden",
                           "Hidden", "1e400", "nan", "0*hidden", "hidden/2", "(hidden)"}) {
    CAPTURE(text);
    CHECK(!parse_width(text));
  }
}

TEST_CASE("a kernel is launched where all its conditions hold") {
  ServingCase c = small();
  InventoryKernel k = kernel("k", "hidden");
  const auto count = [&] { return kernel_times({k}, c, device(), 1).size(); };
  CHECK(count() == 1);
  k.when = {.gate = {Gate::separate}, .shared = {Shared::mlp, Shared::slot}, .shared_gate = true};
  c.variant = {.gate = Gate::separate, .shared = Shared::slot};
  CHECK(count() == 1);
  c.variant.shared = Shared::mlp_overlapped;
  CHECK(count() == 0);
  c.variant = {.gate = Gate::fused, .shared = Shared::mlp};
  CHECK(count() == 0);
  c.variant.gate = Gate::separate;
  c.layer.shared.weight = SharedWeight::constant;
  CHECK(count() == 0);
  k.when = {.ranks = true};
  CHECK(count() == 1);
  c.tp = 1;
  CHECK(count() == 0);
}

TEST_CASE("the second stream hides its work behind the first, at the price of its events") {
  ServingCase c = small();
  InventoryKernel side = kernel("side", "hidden");
  side.side = true;
  const std::vector<InventoryKernel> kernels{kernel("a", "hidden"), kernel("b", "hidden"), side,
                                             kernel("join", "hidden")};
  c.variant.shared = Shared::mlp;
  const auto apart = kernel_times(kernels, c, device(), 1);
  REQUIRE(apart.size() == 4);
  const double one = apart.front().us;
  c.variant.shared = Shared::mlp_overlapped;
  const auto together = kernel_times(kernels, c, device(), 1);
  REQUIRE(together.size() == 4);
  CHECK(together[2].name == "overlapped");
  CHECK(together[2].us == doctest::Approx(0.1 * one + 2));  // hidden, but for interference
  // What is no longer hidden is all there is of a side that is longer than the rest.
  const std::vector<InventoryKernel> short_main{side, kernel("join", "hidden")};
  CHECK(total(kernel_times(short_main, c, device(), 1)) == doctest::Approx(2 * one + 2));
}

}  // namespace fse
