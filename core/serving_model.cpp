#include "core/serving_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/read_file.h"
#include "core/strict_json.h"

namespace fse {
namespace {

constexpr double kAttentionShare = 0.6;  // of the memory rate that paged attention reaches

int read_int(const nlohmann::json& config, const char* key, int otherwise) {
  const auto found = config.find(key);
  return found != config.end() && found->is_number_integer() ? found->get<int>() : otherwise;
}

double sum(const std::vector<KernelTime>& kernels) {
  double us = 0;
  for (const KernelTime& kernel : kernels) us += kernel.us;
  return us;
}

// Everything of a step that depends on its rows alone. Only the last row of each request has its
// next token looked for.
double rows_us(const ServingCase& c, const DeviceModel& d, const FrameworkModel& f, int tokens) {
  const ModelShape& s = c.shape;
  const KernelInventory& launched = f.kernels;
  const int linear = s.layers - s.full_attention_layers;
  const auto section_us = [&](const std::vector<InventoryKernel>& section, int rows) {
    return sum(kernel_times(section, c, d, rows));
  };
  const auto& attention = s.is_latent() ? launched.latent_attention : launched.attention;
  double us = s.full_attention_layers * section_us(attention, tokens);
  if (linear > 0) us += linear * section_us(launched.linear_attention, tokens);
  us += (s.layers - s.dense_layers) * section_us(launched.moe, tokens);
  if (s.dense_layers > 0) us += s.dense_layers * section_us(launched.dense, tokens);
  return us + section_us(launched.head, std::min(tokens, c.concurrency));
}

// Bytes that one full-attention layer keeps of a token. Latent attention has one head, which every
// rank keeps whole.
double kept_bytes(const ServingCase& c) {
  const ModelShape& s = c.shape;
  if (s.is_latent()) return 2.0 * (s.latent.kv_rank + s.latent.rope_dim);
  return 4.0 * std::max(1, s.kv_heads / c.tp) * s.head_dim;
}

// Of one query on one key, per layer and rank, and of all its heads: the product with the key and
// the product with the value. A decoding query meets the latent itself, one of a prompt the keys
// and values that are made of it.
struct PairFlops {
  double decode = 0, prompt = 0;
};
PairFlops pair_flops(const ServingCase& c) {
  const ModelShape& s = c.shape;
  const double heads = double{1} * s.heads / c.tp;
  const auto& l = s.latent;
  if (!s.is_latent()) return {4 * heads * s.head_dim, 4 * heads * s.head_dim};
  return {2 * heads * (2 * l.kv_rank + l.rope_dim),
          2 * heads * (l.nope_dim + l.rope_dim + l.value_dim)};
}

// What attention takes beyond its launch: what is cached is read once, and every query meets every
// key before it.
double cache_us(const ServingCase& c, const DeviceModel& d, const StepLoad& load) {
  const ModelShape& s = c.shape;
  const PairFlops flops = pair_flops(c);
  const double state = s.linear_state_bytes / c.tp * (s.layers - s.full_attention_layers);
  const double read_us = kept_bytes(c) * load.context / (d.read_gbs * kAttentionShare * 1e3);
  const double math_us = (flops.decode * load.decode_pairs + flops.prompt * load.prompt_pairs) /
                         (d.bf16_tflops * d.gemm_share * 1e6);
  return s.full_attention_layers * std::max(read_us, math_us) +
         state * load.sequences / (d.read_gbs * kAttentionShare * 1e3);
}

void read_latent(const nlohmann::json& c, const std::filesystem::path& file, ModelShape& s) {
  s.latent = {.query_rank = read_int(c, "q_lora_rank", 0),
              .kv_rank = read_int(c, "kv_lora_rank", 0),
              .nope_dim = read_int(c, "qk_nope_head_dim", 0),
              .rope_dim = read_int(c, "qk_rope_head_dim", 0),
              .value_dim = read_int(c, "v_head_dim", 0)};
  const auto& l = s.latent;
  if (s.is_latent() && (l.nope_dim < 1 || l.rope_dim < 1 || l.value_dim < 1))
    fail_usage(fmt::format(
        "{}: kv_lora_rank is {}, expected qk_nope_head_dim, qk_rope_head_dim and v_head_dim beside "
        "it, each at least 1",
        file.string(), l.kv_rank));
}

struct Request {
  int prefilled = 0, produced = 0;
  double start = 0, first = 0;
};

// Graphs are captured for some batch sizes only; a step that only decodes is padded to the next of
// them. Larger ones, and those with a prompt in them, run as they are.
int padded_rows(const FrameworkModel& f, const StepLoad& load) {
  if (load.prompt_pairs > 0) return load.rows;
  const auto next = std::lower_bound(f.capture_sizes.begin(), f.capture_sizes.end(), load.rows);
  return next == f.capture_sizes.end() ? load.rows : *next;
}

double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const double at = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
}

}  // namespace

ModelShape read_model_shape(const std::filesystem::path& file) {
  const nlohmann::json c = parse_strict_json(read_file(file).value_or(""), file.string(), 16);
  if (c.contains("index_topk") && !c["index_topk"].is_null())
    throw Refused(
        fmt::format("{}: index_topk: attention to chosen tokens only is not modelled in serving",
                    file.string()));
  ModelShape s{.layers = read_int(c, "num_hidden_layers", 0),
               .dense_layers = read_int(c, "first_k_dense_replace", 0),
               .hidden = read_int(c, "hidden_size", 0),
               .heads = read_int(c, "num_attention_heads", 0),
               .dense_width = read_int(c, "intermediate_size", 0),
               .vocab = read_int(c, "vocab_size", 0)};
  if (s.layers < 1 || s.hidden < 1 || s.heads < 1 || s.vocab < 1)
    fail_usage(
        fmt::format("{}: expected num_hidden_layers, hidden_size, num_attention_heads and "
                    "vocab_size, each at least 1",
                    file.string()));
  s.kv_heads = read_int(c, "num_key_value_heads", s.heads);
  s.head_dim = read_int(c, "head_dim", s.hidden / s.heads);
  const int every = std::max(1, read_int(c, "full_attention_interval", 1));
  s.full_attention_layers = s.layers / every;
  const int key = read_int(c, "linear_num_key_heads", 0) * read_int(c, "linear_key_head_dim", 0);
  const int values = read_int(c, "linear_num_value_heads", 0);
  s.linear_out = values * read_int(c, "linear_value_head_dim", 0);
  s.linear_in = 2 * key + 2 * s.linear_out;
  // One f32 matrix [key, value] per value head, read and written.
  s.linear_state_bytes = 8.0 * s.linear_out * read_int(c, "linear_key_head_dim", 0);
  // Qwen3-Next's full-attention layers project a gate beside each query, whatever its keys say.
  const auto gate = c.find("attn_output_gate"), type = c.find("model_type");
  s.gated_output = (gate != c.end() && *gate == true) || (type != c.end() && *type == "qwen3_next");
  read_latent(c, file, s);
  return s;
}

double step_us(const ServingCase& c, const DeviceModel& d, const FrameworkModel& f,
               const StepLoad& load) {
  return rows_us(c, d, f, padded_rows(f, load)) + cache_us(c, d, load) + f.host_us +
         f.host_token_us * load.sequences;
}

ServingTimes simulate_serving(const ServingCase& c, const DeviceModel& d, const FrameworkModel& f) {
  check(c.concurrency > 0 && c.isl > 0 && c.osl > 1, "requests have a prompt and two tokens");
  std::map<int, double> known;  // rows -> time
  std::vector<Request> running(static_cast<size_t>(c.concurrency));
  std::vector<double> ttft, tpot;
  const int wanted = c.prompts > 0 ? c.prompts : 4 * c.concurrency;
  check(wanted >= c.concurrency, "as many prompts as are in flight");
  int started = c.concurrency;
  double now = 0;
  while (static_cast<int>(ttft.size()) < wanted) {
    StepLoad load;
    int& rows = load.rows;
    std::vector<int> share(running.size(), 0);
    for (size_t i = 0; i < running.size(); ++i)
      if (running[i].produced > 0) share[i] = 1, ++rows;
    for (size_t i = 0; i < running.size(); ++i) {
      if (running[i].produced == 0) {
        share[i] = std::min(c.isl - running[i].prefilled, f.max_batched_tokens - rows);
        rows += std::max(0, share[i]);
      }
      if (share[i] <= 0) continue;
      ++load.sequences;
      const double before = running[i].prefilled + running[i].produced;
      load.context += before;
      (running[i].produced > 0 ? load.decode_pairs : load.prompt_pairs) +=
          share[i] * (before + share[i] / 2.0);
    }
    const int run = padded_rows(f, load);
    const auto found = known.try_emplace(run, 0.0);
    if (found.second) found.first->second = rows_us(c, d, f, run);
    now +=
        found.first->second + cache_us(c, d, load) + f.host_us + f.host_token_us * load.sequences;
    for (size_t i = 0; i < running.size();) {
      Request& r = running[i];
      if (share[i] > 0 && r.produced == 0) r.prefilled += share[i];
      if (share[i] > 0 && r.prefilled == c.isl && r.produced++ == 0) r.first = now;
      if (r.produced < c.osl) {
        ++i;
        continue;
      }
      ttft.push_back((r.first - r.start) / 1e3);
      tpot.push_back((now - r.first) / 1e3 / (c.osl - 1));
      if (started++ < wanted) {
        running[i++] = {.start = now};
      } else {
        running.erase(running.begin() + static_cast<std::ptrdiff_t>(i));
        share.erase(share.begin() + static_cast<std::ptrdiff_t>(i));
      }
    }
  }
  const auto mean = [](const std::vector<double>& v) {
    double total = 0;
    for (const double x : v) total += x;
    return total / static_cast<double>(v.size());
  };
  const double rate = wanted * double{1} * c.osl / (now / 1e6);
  return {.ttft_mean_ms = mean(ttft),
          .tpot_mean_ms = mean(tpot),
          .tpot_p99_ms = percentile(tpot, 0.99),
          .output_tok_s = rate,
          .total_tok_s = rate * (c.isl + c.osl) / c.osl};
}

double closed_form_ms(const ServingCase& c, const DeviceModel& d, const FrameworkModel& f) {
  const double context = c.concurrency * (c.isl + c.osl / 2.0);
  const double step = step_us(c, d, f,
                              {.rows = c.concurrency,
                               .sequences = c.concurrency,
                               .context = context,
                               .decode_pairs = context});
  const int chunk = std::min(f.max_batched_tokens, c.isl * c.concurrency);
  const double prefill =
      step_us(c, d, f, {.rows = chunk, .prompt_pairs = chunk * (c.isl / 2.0)}) / chunk;
  return (step + c.concurrency * (double{1} * c.isl / c.osl) * prefill) / 1e3;
}

}  // namespace fse
