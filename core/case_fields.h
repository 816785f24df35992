#pragma once
#include "core/case.h"
#include "core/device.h"
#include "core/json_fields.h"

// A whole case, and a device, as JSON: see json_fields.h.

namespace fse {

template <class Archive>
void fields(Archive& a, RoutingSpec& r) {
  a("experts", r.experts);
  a("top_k", r.top_k);
  a("score", r.score);
  a("selection_bias", r.selection_bias);
  a("groups", r.groups);
  a("groups_kept", r.groups_kept);
  a("group_score", r.group_score);
  a("renormalize", r.renormalize);
  a("scaling", r.scaling);
}

template <class Archive>
void fields(Archive& a, SharedSpec& s) {
  a("count", s.count);
  a("shared_width", s.shared_width);
  a("weight", s.weight);
  a("constant", s.constant);
}

template <class Archive>
void fields(Archive& a, LayerSpec& l) {
  a("model", l.model);
  a("hidden", l.hidden);
  a("intermediate", l.intermediate);
  a("routing", l.routing);
  a("shared", l.shared);
  a("dtype", l.dtype);
  a("activations", l.activations);
}

template <class Archive>
void fields(Archive& a, Variant& v) {
  a("gate", v.gate);
  a("topk", v.topk);
  a("shared", v.shared);
  a("experts", v.experts);
  a("launch", v.launch);
}

template <class Archive>
void fields(Archive& a, RoutingDistribution& r) {
  a("kind", r.kind);
  a("parameter", r.parameter);
  a("trace", r.trace);
  a("trace_hash", r.trace_hash);
}

template <class Archive>
void fields(Archive& a, Case& c) {
  a("layer", c.layer);
  a("variant", c.variant);
  a("tokens", c.tokens);
  a("tp", c.tp);
  a("routing", c.routing);
  a("cache", c.cache);
  a("device", c.device);
  a("seed", c.seed);
}

template <class Archive>
void fields(Archive& a, DeviceInfo& d) {
  a("name", d.name);
  a("kind", d.kind);
  a("arch", d.arch);
  a("product", d.product);
  a("compute_units", d.compute_units);
  a("memory_bytes", d.memory_bytes);
  a("llc_bytes", d.llc_bytes);
  a("dtypes", d.dtypes);
  a("graph", d.graph);
  a("experts_fused", d.experts_fused);
  a("fp8_activations", d.fp8_activations);
  a("half_activations", d.half_activations);
  a("wave", d.wave);
  a("lds_bytes", d.lds_bytes);
  a("block_threads", d.block_threads);
  a("dependent_launch", d.dependent_launch);
  a("library", d.library);
}

}  // namespace fse
