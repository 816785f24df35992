#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "core/device_model.h"
#include "core/layer_spec.h"
#include "core/routing_model.h"
#include "core/tuned_table.h"
#include "core/variant.h"

namespace fse {

// What a model computes outside its MoE layers, from its config.json.
struct ModelShape {
  int layers = 0, dense_layers = 0, full_attention_layers = 0;
  int hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, dense_width = 0, vocab = 0;
  int linear_in = 0, linear_out = 0;  // of a linear-attention layer; 0: the model has none
  double linear_state_bytes = 0;      // read and written per sequence and linear layer
};
// Throws Refused for attention that is not modelled (multi-head latent attention).
ModelShape read_model_shape(const std::filesystem::path& config_json);

struct ServingCase {
  ModelShape shape;
  LayerSpec layer;
  Variant variant;
  int tp = 1, isl = 0, osl = 0, concurrency = 0;
  RoutingPrior prior;
  Scales scales = Scales::block128;
  int prompts = 0;              // of the whole run; 0: four times the concurrency
  std::vector<TunedRow> tuned;  // the library's table; a shape that is not in it is a miss
};

// As `vllm bench serve` defines them.
struct ServingTimes {
  double ttft_mean_ms = 0, tpot_mean_ms = 0, tpot_p99_ms = 0, output_tok_s = 0, total_tok_s = 0;
};

// What a framework adds to a step whatever the model, fitted: see kernel_inventory.cpp.
struct FrameworkModel {
  std::string name;
  double host_us = 0;        // per step
  double host_token_us = 0;  // per sequence and step
  int max_batched_tokens = 8192;
  RoutingPrior random_prompts;
};
// Throws Error(usage) for a framework that has no inventory.
const FrameworkModel& find_framework(const std::string& name);

// One kernel of the inventory at work, in launch order.
struct KernelTime {
  std::string name;
  double us = 0;
};
std::vector<KernelTime> moe_kernels(const ServingCase&, const DeviceModel&, int tokens);
std::vector<KernelTime> attention_kernels(const ServingCase&, const DeviceModel&, int tokens,
                                          bool linear);

// A step that runs `tokens` rows, of which `sequences` decode, over `context` cached tokens in all.
double step_us(const ServingCase&, const DeviceModel&, const FrameworkModel&, int tokens,
               int sequences, double context);

// Event-driven: a fixed number of requests in flight, prefill in chunks beside decoding.
ServingTimes simulate_serving(const ServingCase&, const DeviceModel&, const FrameworkModel&);

// step(c) + c * (isl / osl) * prefill, per output token of each sequence, in ms.
double closed_form_ms(const ServingCase&, const DeviceModel&, const FrameworkModel&);

}  // namespace fse
