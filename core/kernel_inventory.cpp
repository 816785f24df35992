#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/plan.h"
#include "core/serving_model.h"

// What vLLM 0.19 launches per layer on ROCm with AITER, as far as it is generally known: not
// checked line by line against its source. Names, order and shapes are data; the device says what
// each costs. Times that no kernel explains are the framework's, fitted by hand to the Qwen3-Next
// TP1 rows of vLLM pull request 39280.
namespace fse {
namespace {

constexpr double kTileN = 64;      // columns of one workgroup's tile
constexpr double kPairBytes = 10;  // per row and hidden unit: read bf16, add f32 into the output

double weight_size(const LayerSpec& layer) {
  return static_cast<double>(element_bytes(layer.dtype));
}

double peak_tflops(const LayerSpec& layer, const DeviceModel& d) {
  return layer.dtype == DType::fp8_block128 && d.fp8_tflops > 0 ? d.fp8_tflops : d.bf16_tflops;
}

double gemm_us(const DeviceModel& d, double tokens, double n, double k, double bytes_each,
               double tflops) {
  const double workgroups = std::ceil(n / kTileN) * std::ceil(tokens / kTileN);
  const double gbs = std::min(d.read_gbs, std::min(workgroups, d.compute_units) * d.workgroup_gbs);
  const double bytes = n * k * bytes_each + 2 * tokens * (n + k);
  return d.launch_us +
         std::max(bytes / (gbs * 1e3), 2 * tokens * n * k / (tflops * d.gemm_share * 1e6));
}

double elementwise_us(const DeviceModel& d, double tokens, double width) {
  return d.launch_us + tokens * width * 4 / (d.read_gbs * 1e3);  // one read, one write of bf16
}

}  // namespace

double grouped_us(const LayerSpec& layer, const Shard& shard, const DeviceModel& d,
                  const RoutingPrior& prior, int slots, int tokens) {
  const RoutingSpec& routing = layer.routing;
  const double mean = double{1} * tokens * routing.top_k / routing.experts;
  const int block_m = mean < 0.25 ? 16 : mean < 4 ? 32 : 64;  // what the tuned tables choose
  const ExpectedLoad load =
      expected_load(prior, routing.experts, routing.top_k, slots, tokens, block_m);
  const double bytes = load.distinct * static_cast<double>(expert_bytes(layer, shard)) +
                       load.pairs * layer.hidden * kPairBytes;
  const double workgroups = load.blocks * std::ceil(shard.intermediate / 128.0);
  const double gbs = std::min(d.read_gbs, workgroups * d.workgroup_gbs);
  const double flops = 6.0 * load.blocks * block_m * shard.intermediate * layer.hidden;
  const double bytes_us = bytes / (gbs * 1e3);
  const double math_us = flops / (peak_tflops(layer, d) * d.grouped_share * 1e6);
  // Loads and matrix work overlap, not perfectly: a 4-norm between the two bounds and their sum.
  return d.grouped_us + std::pow(std::pow(bytes_us, 4) + std::pow(math_us, 4), 0.25);
}

std::vector<KernelTime> moe_kernels(const ServingCase& c, const DeviceModel& d, int tokens) {
  const LayerSpec& layer = c.layer;
  const Shard shard = measured_shard(layer, c.tp);
  const Variant& v = c.variant;
  const bool slot = v.shared == Shared::slot;
  const bool mlp = v.shared == Shared::mlp || v.shared == Shared::mlp_overlapped;
  const double h = layer.hidden, width = shard.shared.stored(), size = weight_size(layer);
  const double tflops = peak_tflops(layer, d);
  const int gates = layer.gate_rows();
  const double rows = layer.routing.experts + (v.gate == Gate::fused ? gates : 0);
  std::vector<KernelTime> kernels;
  const auto add = [&](const char* name, double us) { kernels.push_back({name, us}); };
  const auto gemm = [&](double n, double k, double each, double rate) {
    return gemm_us(d, tokens, n, k, each, rate);
  };
  add("router_gate", gemm(rows, h, 2, d.bf16_tflops));
  if (gates > 0 && v.gate == Gate::separate) add("shared_gate", gemm(gates, h, 2, d.bf16_tflops));
  add("topk", elementwise_us(d, tokens, layer.routing.experts));
  if (gates > 0 && v.topk == Topk::unfused) add("shared_activation", elementwise_us(d, tokens, 1));
  if (slot && v.topk == Topk::unfused) add("slot_append", elementwise_us(d, tokens, 16));
  add("moe_sort", elementwise_us(d, tokens, 32));
  add("experts", grouped_us(layer, shard, d, c.prior, slot ? shard.slots : 0, tokens));
  if (!mlp) return kernels;
  std::vector<KernelTime> side;
  side.push_back({"shared_quantize", elementwise_us(d, tokens, h)});
  side.push_back({"shared_gate_up", gemm(2 * width, h, size, tflops)});
  side.push_back({"shared_silu_mul", elementwise_us(d, tokens, 2 * width)});
  side.push_back({"shared_quantize_down", elementwise_us(d, tokens, width)});
  side.push_back({"shared_down", gemm(h, width, size, tflops)});
  if (gates > 0) side.push_back({"shared_weight", elementwise_us(d, tokens, h)});
  if (v.shared == Shared::mlp) {
    kernels.insert(kernels.end(), side.begin(), side.end());
  } else {
    double main_us = 0, side_us = 0;
    for (const KernelTime& k : kernels) main_us += k.us;
    for (const KernelTime& k : side) side_us += k.us;
    // Both branches slow each other while they overlap; the longer one decides.
    const double overlap = std::min(main_us, side_us) * d.interference;
    add("shared_mlp_overlapped", std::max(0.0, side_us - main_us) + overlap + 2 * d.event_us);
  }
  add("shared_add", elementwise_us(d, tokens, 2 * h));
  return kernels;
}

std::vector<KernelTime> attention_kernels(const ServingCase& c, const DeviceModel& d, int tokens,
                                          bool linear) {
  const ModelShape& s = c.shape;
  const double h = s.hidden, size = weight_size(c.layer), tflops = peak_tflops(c.layer, d);
  const double q = double{1} * s.heads * s.head_dim / c.tp;
  const double kv = 2.0 * std::max(1, s.kv_heads / c.tp) * s.head_dim;
  const double in = linear ? double{1} * s.linear_in / c.tp : q + kv;
  const double out = linear ? double{1} * s.linear_out / c.tp : q;
  std::vector<KernelTime> kernels;
  const auto small = [&](const char* name, double width) {
    kernels.push_back({name, elementwise_us(d, tokens, width)});
  };
  small("input_norm", h);
  small("quantize_in", h);
  kernels.push_back({"project_in", gemm_us(d, tokens, in, h, size, tflops)});
  if (linear) {
    kernels.push_back({"project_ba", gemm_us(d, tokens, 64, h, 2, d.bf16_tflops)});
    for (const char* name : {"split", "conv_update", "gating", "recurrent", "gated_norm"})
      small(name, in);
  } else {
    for (const char* name : {"split_norm", "rope", "cache_write", "attention"}) small(name, in);
  }
  small("quantize_out", out);
  kernels.push_back({"project_out", gemm_us(d, tokens, h, out, size, tflops)});
  small("post_norm", h);
  const double reduce = all_reduce_us(d, c.tp, 2.0 * tokens * h);
  if (c.tp > 1) kernels.push_back({"all_reduce", 2 * reduce});  // after attention and after MoE
  return kernels;
}

const FrameworkModel& find_framework(const std::string& name) {
  static const FrameworkModel kVllm{
      .name = "vllm-0.19-rocm",
      .host_us = 1850,
      .host_token_us = 0,
      .max_batched_tokens = 8192,
      .random_prompts = {.kind = PriorKind::zipf, .parameter = 1.55, .counts = {}}};
  if (name == kVllm.name) return kVllm;
  fail_usage(fmt::format("serving.framework is '{}', expected {}", name, kVllm.name));
}

}  // namespace fse
