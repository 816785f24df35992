#include "kernels/gpu/layer.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "core/error.h"
#include "kernels/gpu/device_weights.h"

namespace fse {

gpu::Shape gpu_shape(const LayerPlan& plan) {
  const LayerSpec& layer = plan.layer;
  int format = gpu::kBf16;
  if (layer.dtype == DType::f16) format = gpu::kF16;
  if (layer.dtype == DType::fp8_block128)
    format = layer.activations == Activations::fp8 ? gpu::kFp8Activations : gpu::kFp8;
  return {.format = format,
          .hidden = layer.hidden,
          .intermediate = plan.shard.intermediate,
          .experts = layer.routing.experts};
}

gpu::Sizes gpu_sizes(const LayerPlan& plan, const Step& step) {
  const Buffer* logits = plan.find(step.op == Op::gate_gemm ? step.writes[0] : Buf::router_logits);
  return {.tokens = plan.tokens,
          .top_k = plan.layer.routing.top_k,
          .choices = plan.choices(),
          .expert_count = plan.expert_count(),
          .slots = plan.shard.slots,
          .shared_width = plan.shard.shared.stored(),
          .row_begin = step.row_begin,
          .row_end = step.row_end,
          .logits_stride = static_cast<int>(logits->cols)};
}

gpu::Routing gpu_routing(const LayerPlan& plan) {
  const RoutingSpec& r = plan.layer.routing;
  return {.sigmoid = r.score == ScoreFunction::sigmoid,
          .groups = r.groups,
          .groups_kept = r.groups_kept,
          .sum_of_top2 = r.group_score == GroupScore::sum_of_top2,
          .renormalize = r.renormalize,
          .scaling = static_cast<float>(r.scaling),
          .gated = plan.layer.gate_rows(),
          .shared_constant = static_cast<float>(plan.layer.shared.constant),
          .append_slots = plan.has_slots()};
}

gpu::Args gpu_args(const LayerPlan& plan, const Step& step, const BufferPointers& pointers) {
  const auto at = [&]<class T>(Buf id, T*) {
    return static_cast<T*>(pointers[static_cast<size_t>(id)]);
  };
  float* const f = nullptr;
  int* const n = nullptr;
  void* const p = nullptr;
  gpu::Args a{};
  a.n = gpu_sizes(plan, step);
  a.r = gpu_routing(plan);
  a.x = at(Buf::x, p);
  a.router_logits = at(Buf::router_logits, f);
  const bool apart = plan.find(Buf::shared_logits) != nullptr;  // gate=separate
  a.shared_logit = apart ? at(Buf::shared_logits, f) : a.router_logits + plan.layer.routing.experts;
  a.shared_logit_stride = apart ? 1 : static_cast<int>(plan.find(Buf::router_logits)->cols);
  if (step.op == Op::gate_gemm) a.gate_out = at(step.writes[0], f);
  if (step.op == Op::layer) a.gate_out = a.router_logits;
  a.scores = at(Buf::scores, f);
  a.topk_ids = at(Buf::topk_ids, n);
  a.topk_weights = at(Buf::topk_weights, f);
  a.shared_weight = at(Buf::shared_weight, f);
  a.expert_offsets = at(Buf::expert_offsets, n);
  a.sorted_pairs = at(Buf::sorted_pairs, n);
  a.h = at(Buf::h, p);
  a.y = at(Buf::y, p);
  a.shared_h = at(Buf::shared_h, p);
  a.shared_out = at(Buf::shared_out, p);
  a.out = at(Buf::out, p);
  return a;
}

gpu::Limits gpu_limits(const DeviceInfo& device) {
  return {.wave = device.wave,
          .lds_bytes = static_cast<int>(device.lds_bytes),
          .block_threads = device.block_threads,
          .compute_units = device.compute_units,
          .dependent_launch = device.dependent_launch};
}

std::string to_text(const gpu::Shape& s) {
  return fmt::format("fse::gpu::Shape{{{},{},{},{}}}", s.format, s.hidden, s.intermediate,
                     s.experts);
}

namespace {

constexpr int64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;

// Public data sheets; gfx90a is one of the two dies of an MI250X.
struct ArchFacts {
  std::string_view arch, product;
  int compute_units;
  int64_t memory_bytes, llc_bytes, lds_bytes;
  int wave;
  Fp8 fp8;
};
constexpr std::array<ArchFacts, 7> kArchs{
    {{"gfx90a", "MI250X", 110, 64 * kGiB, 8 * kMiB, 64 * kKiB, 64, Fp8::none},
     {"gfx942", "MI300X", 304, 192 * kGiB, 256 * kMiB, 64 * kKiB, 64, Fp8::e4m3fnuz},
     {"gfx950", "MI355X", 256, 288 * kGiB, 256 * kMiB, 160 * kKiB, 64, Fp8::e4m3fn},
     {"sm_80", "A100", 108, 80 * kGiB, 40 * kMiB, 163 * kKiB, 32, Fp8::none},
     {"sm_89", "L40S", 142, 48 * kGiB, 96 * kMiB, 99 * kKiB, 32, Fp8::e4m3fn},
     {"sm_90", "H100", 132, 80 * kGiB, 50 * kMiB, 227 * kKiB, 32, Fp8::e4m3fn},
     {"sm_100", "B200", 148, 180 * kGiB, 126 * kMiB, 227 * kKiB, 32, Fp8::e4m3fn}}};

std::vector<DType> dtypes_of(const ArchFacts& facts) {
  std::vector<DType> dtypes{DType::bf16, DType::f16};
  if (facts.fp8 != Fp8::none) dtypes.push_back(DType::fp8_block128);
  return dtypes;
}

}  // namespace

DeviceInfo typical_gpu(const std::string& arch) {
  std::string known;
  for (const ArchFacts& facts : kArchs) {
    known += (known.empty() ? "" : ", ") + std::string(facts.arch);
    if (facts.arch != arch) continue;
    const bool nvidia = arch.starts_with("sm_");
    return {.name = "hip:0",
            .kind = "hip",
            .arch = arch,
            .product = std::string(facts.product),
            .compute_units = facts.compute_units,
            .memory_bytes = facts.memory_bytes,
            .llc_bytes = facts.llc_bytes,
            .dtypes = dtypes_of(facts),
            .graph = true,
            .experts_fused = true,
            .fp8_activations = facts.fp8 != Fp8::none,
            .half_activations = true,
            .wave = facts.wave,
            .lds_bytes = facts.lds_bytes,
            .block_threads = 1024,
            .dependent_launch = nvidia && arch != "sm_80" && arch != "sm_89"};
  }
  fail_usage(fmt::format("architecture {}: expected one of {}", arch, known));
}

Fp8 fp8_of(const std::string& arch) {
  for (const ArchFacts& facts : kArchs)
    if (facts.arch == arch) return facts.fp8;
  return Fp8::e4m3fn;
}

int64_t gpu_llc_bytes(const std::string& arch, int64_t reported_l2) {
  if (arch.starts_with("sm_")) return reported_l2;
  for (const ArchFacts& facts : kArchs)
    if (facts.arch == arch) return facts.llc_bytes;
  return reported_l2;
}

}  // namespace fse
