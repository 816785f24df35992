#include "tuner/exchange_export.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/plan.h"

namespace fse {
namespace {

// A layer with the two steps that other programs' tables are about.
struct Staged {
  const DispatchLayer* layer = nullptr;
  const StepTime *stage1 = nullptr, *stage2 = nullptr;
};

const StepTime* step_of(const AttemptRecord& a, Op op) {
  for (const StepTime& s : a.steps)
    if (s.op == to_name(op)) return &s;
  return nullptr;
}

std::map<int, Staged> winners_of(const LayerDispatch& group) {
  std::map<int, Staged> best;
  std::set<std::string> routings;
  for (const DispatchLayer& l : group.layers) {
    routings.insert(to_text(l.spec.routing));
    const Staged staged{&l, step_of(l.attempt, Op::grouped_stage1),
                        step_of(l.attempt, Op::grouped_stage2)};
    if (!staged.stage1 || !staged.stage2) continue;
    Staged& kept = best[l.spec.tokens];
    if (!kept.layer || l.attempt.time_us.median < kept.layer->attempt.time_us.median) kept = staged;
  }
  if (routings.size() > 1)
    fail_usage(fmt::format("{}: {} routings are selected, such as {}; expected one (routing=...)",
                           group.spec().layer.model, routings.size(), *routings.begin()));
  if (best.empty())
    fail_usage(
        fmt::format("{}: no layer with grouped_stage1 and grouped_stage2 is selected, "
                    "expected variant.experts=staged",
                    group.spec().layer.model));
  return best;
}

Shard shard_of(const Case& c) {
  return measured_shard(c.layer, c.tp);
}

int axis(const Tile& tile, const std::string& name, const StepTime& step) {
  for (const auto& [axis, value] : tile.axes)
    if (axis == name) return value;
  fail_usage(
      fmt::format("{} has no axis '{}', expected a kernel of a GPU (device=hip:0): vLLM and "
                  "SGLang have no settings for others",
                  step.kernel, name));
}

int power_of_two(int value, int least, int most) {
  return std::clamp(static_cast<int>(std::bit_ceil(static_cast<unsigned>(value))), least, most);
}

// A block of fselab has warps / split tiles of `rows` weight rows at once, and goes along k by one
// slice of 128 bytes for each warp of a tile. Triton's products need 16 of each and powers of two;
// with scales per block of 128 the kernel takes k in 128s.
nlohmann::ordered_json triton_settings(const StepTime& step, DType dtype) {
  const auto at = [&](const char* name) { return axis(step.tile, name, step); };
  const bool fp8 = dtype == DType::fp8_block128;
  const int n = at("rows") * at("warps") / at("split");
  const int k = 128 / static_cast<int>(element_bytes(dtype)) * at("split");
  return {{"BLOCK_SIZE_M", power_of_two(at("width"), 16, 256)},
          {"BLOCK_SIZE_N", power_of_two(n, fp8 ? 128 : 16, 256)},
          {"BLOCK_SIZE_K", fp8 ? 128 : power_of_two(k, 16, 128)},
          {"GROUP_SIZE_M", 1},
          {"num_warps", power_of_two(at("warps"), 1, 8)},
          {"num_stages", std::clamp(at("ring"), 2, 5)}};
}

std::string torch_type(const LayerSpec& layer, bool activations) {
  if (layer.dtype == DType::fp8_block128 &&
      !(activations && layer.activations == Activations::bf16))
    return "torch.float8_e4m3fn";
  if (layer.dtype == DType::f16) return "torch.float16";
  return layer.dtype == DType::f32 ? "torch.float32" : "torch.bfloat16";
}

// A kernel's name in a CSV without quotes.
std::string cell_text(const StepTime& step) {
  const std::string text = choice_text(step.kernel, step.tile);
  check(text.find_first_of(",\"\r\n") == std::string::npos, "kernel names have no commas");
  return text;
}

int axis_or(const Tile& tile, const std::string& name, int otherwise) {
  for (const auto& [axis, value] : tile.axes)
    if (axis == name) return value;
  return otherwise;
}

std::string aiter_row(const Staged& w, const DeviceInfo& device) {
  const Case& c = w.layer->spec;
  const Shard shard = shard_of(c);
  const int slots = c.variant.shared == Shared::slot ? shard.slots : 0;
  const int topk = c.layer.routing.top_k + slots;
  const bool fp8 = c.layer.dtype == DType::fp8_block128;
  const double us1 = w.stage1->time_us.median, us2 = w.stage2->time_us.median, us = us1 + us2;
  const double flops = 6.0 * c.layer.hidden * shard.intermediate * c.tokens * topk;
  // err1 and err2 are the shares of elements that are off by too much: a winner has none.
  return fmt::format(
      "{},{},{},{},{},{},ActivationType.Silu,{},{},{},QuantType.{},1,0,{},0,{:.4f},{},0.0%,{:.4f},{"
      "},"
      "0.0%,{:.4f},0,{:.2f},{:.2f},fselab\n",
      device.compute_units, c.tokens, c.layer.hidden, shard.intermediate,
      c.layer.routing.experts + slots, topk,
      c.layer.dtype == DType::f16 ? "torch.float16" : "torch.bfloat16", torch_type(c.layer, true),
      torch_type(c.layer, false), fp8 ? "per_1x128" : "No", axis_or(w.stage1->tile, "width", 0),
      us1, cell_text(*w.stage1), us2, cell_text(*w.stage2), us, flops / us / 1e6,
      (w.stage1->bytes + w.stage2->bytes) / us / 1e3);
}

constexpr const char* kAiterHeader =
    "cu_num,token,model_dim,inter_dim,expert,topk,act_type,dtype,q_dtype_a,q_dtype_w,q_type,"
    "use_g1u1,doweight_stage1,block_m,ksplit,us1,kernelName1,err1,us2,kernelName2,err2,us,"
    "run_1stage,tflops,bw,_tag\n";

}  // namespace

ForeignTable vllm_of(const LayerDispatch& group) {
  nlohmann::ordered_json document = nlohmann::ordered_json::object();
  for (const auto& [tokens, w] : winners_of(group))
    document[std::to_string(tokens)] = triton_settings(*w.stage1, group.spec().layer.dtype);
  return read_foreign(document.dump(4) + "\n", group.spec().layer.model);
}

std::string vllm_name_of(const LayerDispatch& group, const DeviceInfo& device, bool sglang) {
  const Case& c = group.spec();
  const bool fp8 = c.layer.dtype == DType::fp8_block128;
  const std::string dtype = fp8 ? "fp8_w8a8" : c.layer.dtype == DType::f32 ? "float32" : "";
  return vllm_file_name(c.layer.routing.experts, shard_of(c).intermediate, device.product, dtype,
                        !fp8     ? ""
                        : sglang ? "[128, 128]"
                                 : "[128,128]");
}

ForeignTable aiter_of(const LayerDispatch& group, const DeviceInfo& device) {
  std::string text = kAiterHeader;
  for (const auto& [tokens, w] : winners_of(group)) text += aiter_row(w, device);
  return read_foreign(text, group.spec().layer.model);
}

}  // namespace fse
