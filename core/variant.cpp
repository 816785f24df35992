#include "core/variant.h"

#include <fmt/format.h>

#include <algorithm>

namespace fse {

std::string to_text(const Variant& v) {
  return fmt::format("gate={} topk={} shared={} experts={} launch={}", to_name(v.gate),
                     to_name(v.topk), to_name(v.shared), to_name(v.experts), to_name(v.launch));
}

std::string to_label(const Variant& v) {
  return fmt::format("{}/{}/{}/{}/{}", to_name(v.gate), to_name(v.topk), to_name(v.shared),
                     to_name(v.experts), to_name(v.launch));
}

// The capability matrix, one row per rule: when it applies, and why it forbids.
std::vector<std::string> check(const LayerSpec& layer, const Variant& v, const DeviceInfo& device) {
  std::vector<std::string> reasons;
  const auto forbid = [&](bool when, std::string why) {
    if (when) reasons.push_back(std::move(why));
  };
  const bool has_dtype =
      std::find(device.dtypes.begin(), device.dtypes.end(), layer.dtype) != device.dtypes.end();
  const bool lacks_fp8 = !has_dtype && layer.dtype == DType::fp8_block128 && device.kind != "cpu";
  forbid(!has_dtype && !lacks_fp8,
         fmt::format("dtype={}: {} has no kernels for it", to_name(layer.dtype), device.name));
  forbid(lacks_fp8, fmt::format("dtype=fp8_block128: the matrix units of {} have no fp8; "
                                "without_fp8: bf16 in a sweep runs such weights as bf16",
                                device.arch));
  forbid(layer.activations == Activations::fp8 && layer.dtype != DType::fp8_block128,
         "activations=fp8: only with dtype=fp8_block128");
  forbid(layer.activations == Activations::fp8 && !device.fp8_activations,
         fmt::format("activations=fp8: {} multiplies in f32", device.name));
  forbid(v.gate == Gate::fused && layer.gate_rows() == 0,
         "gate=fused: the layer has no shared gate to fuse");
  forbid(v.shared == Shared::none && layer.has_shared(),
         "shared=none: the layer has a shared expert");
  forbid(v.shared != Shared::none && !layer.has_shared(),
         fmt::format("shared={}: the layer has no shared expert", to_name(v.shared)));
  forbid(v.shared == Shared::mlp_overlapped && device.kind == "cpu" && device.compute_units == 1,
         "shared=mlp_overlapped: one thread has nothing to overlap with");
  forbid(v.experts == Experts::fused && !device.experts_fused,
         fmt::format("experts=fused: {} has no cooperative kernel", device.name));
  const bool fused = v.experts == Experts::fused;
  forbid(fused && v.gate == Gate::separate && layer.gate_rows() > 0,
         "experts=fused: its one gate has the shared gate's row, expected gate=fused");
  forbid(fused && v.topk == Topk::unfused, "experts=fused: routes in one go, expected topk=fused");
  forbid(fused && layer.has_shared() && v.shared != Shared::slot,
         "experts=fused: the shared expert is one of its experts, expected shared=slot");
  forbid(v.launch == Launch::graph && !device.graph,
         fmt::format("launch=graph: {} has no graph replay", device.name));
  return reasons;
}

std::vector<Variant> all_variants() {
  std::vector<Variant> all;
  for (const auto& [gate, n0] : kNames<Gate>)
    for (const auto& [topk, n1] : kNames<Topk>)
      for (const auto& [shared, n2] : kNames<Shared>)
        for (const auto& [experts, n3] : kNames<Experts>)
          for (const auto& [launch, n4] : kNames<Launch>)
            all.push_back({gate, topk, shared, experts, launch});
  return all;
}

}  // namespace fse
