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

InventoryKernel gemm(const char* name, const char* n, const char* k) {
  return {.name = name, .work = KernelWork::gemm, .n = *parse_width(n), .k = *parse_width(k)};
}
InventoryKernel elementwise(const char* name, const char* width) {
  return {.name = name, .width = *parse_width(width)};
}

// A framework of few kernels: as many launches with the slot as without the shared expert.
FrameworkModel framework() {
  FrameworkModel f{.name = "test", .host_us = 1000, .max_batched_tokens = 8192};
  const auto attention = {gemm("in", "query_width + kv_width", "hidden"),
                          gemm("out", "hidden", "out_width")};
  f.kernels.attention = f.kernels.linear_attention = f.kernels.latent_attention = attention;
  InventoryKernel shared = gemm("shared", "3*shared_width", "hidden");
  shared.when.shared = {Shared::mlp, Shared::mlp_overlapped};
  shared.side = true;
  f.kernels.moe = {elementwise("topk", "experts"),
                   {.name = "experts", .work = KernelWork::experts},
                   shared,
                   elementwise("add", "hidden")};
  f.kernels.dense = {gemm("dense", "3*dense_width", "hidden")};
  f.kernels.head = {gemm("head", "vocab", "hidden")};
  return f;
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
  const FrameworkModel framework = fse::framework();
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

TEST_CASE("ttft, tpot and throughput are those of vllm bench serve, and agree with each other") {
  // One request at a time: its first token comes with its prefill, the others one step each.
  ServingCase c = qwen({});
  c.concurrency = 1;
  c.prompts = 3;
  const DeviceModel d = device();
  const FrameworkModel f = framework();
  const ServingTimes t = simulate_serving(c, d, f);
  const double pairs = c.isl * (c.isl / 2.0);
  const double prefill = step_us(c, d, f, {.rows = c.isl, .sequences = 1, .prompt_pairs = pairs});
  CHECK(t.ttft_mean_ms == doctest::Approx(prefill / 1e3));
  const double request_s = (t.ttft_mean_ms + (c.osl - 1) * t.tpot_mean_ms) / 1e3;
  CHECK(t.output_tok_s == doctest::Approx(c.osl / request_s));
  CHECK(t.total_tok_s == doctest::Approx((c.isl + c.osl) / request_s));
  CHECK(t.tpot_p99_ms == doctest::Approx(t.tpot_mean_ms));
}

TEST_CASE("the event loop agrees with the closed form for every mix of prompt and output") {
  const DeviceModel d = device();
  const FrameworkModel f = framework();
  for (const int isl : {16, 500, 4000})
    for (const int osl : {64, 400})
      for (const int concurrency : {1, 4, 32}) {
        CAPTURE(isl);
        CAPTURE(osl);
        CAPTURE(concurrency);
        ServingCase c = qwen({});
        c.isl = isl;
        c.osl = osl;
        c.concurrency = concurrency;
        c.prompts = 8 * concurrency;
        const double per_token = 1e3 * concurrency / simulate_serving(c, d, f).output_tok_s;
        CHECK(std::abs(per_token / closed_form_ms(c, d, f) - 1) < 0.25);
      }
}

TEST_CASE(
    "latent attention keeps one head per token, on every rank, whatever the number of heads") {
  ServingCase c = qwen({});
  c.shape = read_model_shape(kConfigs / "models/deepseek-v3.json");
  c.layer = find_model("deepseek-v3", kConfigs).layer;
  c.layer.dtype = DType::fp8_block128;
  REQUIRE(c.shape.is_latent());
  const DeviceModel d = device();
  const FrameworkModel f = framework();
  const auto grows = [&](int tp, double context) {
    c.tp = tp;
    return step_us(c, d, f, {.rows = 1, .sequences = 1, .context = context}) -
           step_us(c, d, f, {.rows = 1, .sequences = 1});
  };
  // 61 layers, (512 + 64) * 2 bytes each, at 0.6 of the memory rate.
  CHECK(grows(1, 1000) == doctest::Approx(61 * 1152.0 * 1000 / (5000 * 0.6 * 1e3)));
  CHECK(grows(8, 1000) == doctest::Approx(grows(1, 1000)));
}

TEST_CASE("a decoding step is padded to the next captured size, one with a prompt is not") {
  const ServingCase c = qwen({});
  const DeviceModel d = device();
  FrameworkModel f = framework();
  const auto us = [&](int rows, double prompt_pairs = 0) {
    return step_us(c, d, f, {.rows = rows, .sequences = 1, .prompt_pairs = prompt_pairs});
  };
  const double bare = us(5), eight = us(8), prompt = us(5, 100), beyond = us(9);
  f.capture_sizes = {1, 2, 4, 8};
  CHECK(us(5) == eight);
  CHECK(us(5) > bare);
  CHECK(us(8) == eight);
  CHECK(us(9) == beyond);
  CHECK(us(5, 100) == prompt);
}

TEST_CASE("attention that chooses what it attends to is refused") {
  CHECK_THROWS_AS(read_model_shape(kConfigs / "models/glm-5.json"), Refused);
}

}  // namespace fse
