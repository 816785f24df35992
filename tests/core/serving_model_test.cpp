#include "core/serving_model.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/error.h"
#include "core/kernel_cost.h"
#include "core/model_import.h"

namespace fse {
namespace {

const std::filesystem::path kConfigs = std::filesystem::path(FSELAB_SOURCE_DIR) / "configs";

DeviceModel device() {
  DeviceModel d;
  d.compute_units = 256;
  d.peak_gbs = 8000;
  d.read_gbs = 5000;
  d.workgroup_gbs = 45;
  d.bf16_tflops = 2500;
  d.fp8_tflops = 5000;
  d.gemm_share = 0.4;
  d.grouped_share = 0.15;
  d.launch_us = 3;
  d.grouped_us = 12;
  d.link_gbs = 70;
  d.link_us = 5;
  return d;
}

ServingCase qwen(Variant variant) {
  ServingCase c{.shape = read_model_shape(kConfigs / "models/qwen3-next-80b-a3b.json"),
                .layer = find_model("qwen3-next-80b-a3b", kConfigs).layer,
                .variant = variant,
                .tp = 1,
                .isl = 500,
                .osl = 100,
                .concurrency = 8,
                .prior = {}};
  c.layer.dtype = DType::fp8_block128;
  return c;
}

}  // namespace

TEST_CASE("grouped kernels never undercut their bytes and are monotone in tokens") {
  const ServingCase c = qwen({});
  const Shard shard = measured_shard(c.layer, 1);
  const DeviceModel d = device();
  double last = 0;
  for (int tokens = 1; tokens <= 4096; tokens *= 2) {
    CAPTURE(tokens);
    const double us = grouped_us(c.layer, shard, d, {}, 0, tokens, library_tiles(Scales::block128));
    const ExpectedLoad load = expected_load({}, 512, 10, 0, tokens, 16);
    CHECK(us > load.distinct * 3.1e6 / (d.peak_gbs * 1e3));
    CHECK(us > last);
    last = us;
  }
}

TEST_CASE("the event loop agrees with the closed form, and costlier launches only slow it down") {
  const ServingCase c = qwen({});
  const FrameworkModel& framework = find_framework("vllm-0.19-rocm");
  DeviceModel d = device();
  const ServingTimes times = simulate_serving(c, d, framework);
  const double per_token = 1e3 * c.concurrency / times.output_tok_s;
  CHECK(std::abs(per_token / closed_form_ms(c, d, framework) - 1) < 0.05);
  d.launch_us *= 2;
  CHECK(simulate_serving(c, d, framework).output_tok_s < times.output_tok_s);
  const Variant slot{.gate = Gate::fused, .topk = Topk::fused, .shared = Shared::slot};
  CHECK(simulate_serving(qwen(slot), d, framework).output_tok_s >
        simulate_serving(c, d, framework).output_tok_s);
}

TEST_CASE("latent attention is refused, and so is an unknown framework") {
  CHECK_THROWS_AS(read_model_shape(kConfigs / "models/deepseek-v3.json"), Refused);
  CHECK_THROWS_AS(find_framework("vllm"), Error);
}

}  // namespace fse
