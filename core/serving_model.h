#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "core/device_model.h"
#include "core/kernel_inventory.h"
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
  bool gated_output = false;          // queries are projected with a gate beside each
  // Multi-head latent attention: what is kept of a token is kv_rank + rope_dim wide, on every rank.
  struct Latent {
    int query_rank = 0, kv_rank = 0;  // query_rank 0: queries are not compressed
    int nope_dim = 0, rope_dim = 0, value_dim = 0;
  } latent;
  bool is_latent() const { return latent.kv_rank > 0; }
};
// Throws Refused for attention that is not modelled (one that chooses what it attends to).
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

// A framework's version: what it launches, and what it adds to a step whatever the model.
struct FrameworkModel {
  std::string name;
  double host_us = 0;        // per step
  double host_token_us = 0;  // per sequence and step
  int max_batched_tokens = 8192;
  std::vector<int> capture_sizes;  // ascending: decoding steps are padded to the next of them
  RoutingPrior random_prompts;     // what prompts of random tokens choose
  KernelInventory kernels;
  std::vector<std::pair<std::string, Provenance>> provenance;  // of all but the kernels
};

// What one step works on. A pair is one query that meets one key.
struct StepLoad {
  int rows = 0, sequences = 0;
  double context = 0;  // cached tokens that are read, in all
  double decode_pairs = 0, prompt_pairs = 0;
};
double step_us(const ServingCase&, const DeviceModel&, const FrameworkModel&, const StepLoad&);

// Event-driven: a fixed number of requests in flight, prefill in chunks beside decoding.
ServingTimes simulate_serving(const ServingCase&, const DeviceModel&, const FrameworkModel&);

// step(c) + c * (isl / osl) * prefill, per output token of each sequence, in ms.
double closed_form_ms(const ServingCase&, const DeviceModel&, const FrameworkModel&);

}  // namespace fse
