#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/kernel_cost.h"
#include "core/plan.h"
#include "core/serving_model.h"

// What vLLM 0.19 launches per layer on ROCm with AITER, as far as it is generally known: not
// checked line by line against its source. Names, order and shapes are data; the device says what
// each costs. Times that no kernel explains are the framework's, fitted by hand to the Qwen3-Next
// TP1 rows of vLLM pull request 39280.
namespace fse {
namespace {

double weight_size(const LayerSpec& layer) {
  return static_cast<double>(element_bytes(layer.dtype));
}

// A tuned row of the very shape, as far as the batch differs from what it was tuned with; else the
// library's best tile.
double experts_us(const ServingCase& c, const Shard& shard, const DeviceModel& d, int tokens) {
  const int slots = c.variant.shared == Shared::slot ? shard.slots : 0;
  if (const auto us = tuned_us(c.tuned, c.layer, shard, d, c.prior, slots, tokens)) return *us;
  return grouped_us(c.layer, shard, d, c.prior, slots, tokens, library_tiles(c.scales));
}

}  // namespace

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
  add("experts", experts_us(c, shard, d, tokens));
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
      .host_us = 2175,
      .host_token_us = 0,
      .max_batched_tokens = 8192,
      .random_prompts = {.kind = PriorKind::zipf, .parameter = 1.575, .counts = {}}};
  if (name == kVllm.name) return kVllm;
  fail_usage(fmt::format("serving.framework is '{}', expected {}", name, kVllm.name));
}

}  // namespace fse
