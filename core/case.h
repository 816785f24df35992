#pragma once
#include <filesystem>
#include <string>

#include "core/layer_spec.h"
#include "core/variant.h"

namespace fse {

// From which experts' popularity a batch draws its routes.
enum class RoutingKind { uniform, zipf, dirichlet, trace };
template <>
inline constexpr NameTable<RoutingKind, 4> kNames<RoutingKind>{
    {{RoutingKind::uniform, "uniform"},
     {RoutingKind::zipf, "zipf"},
     {RoutingKind::dirichlet, "dirichlet"},
     {RoutingKind::trace, "trace"}}};

struct RoutingDistribution {
  RoutingKind kind = RoutingKind::uniform;
  double parameter = 0;         // zipf: exponent s; dirichlet: concentration a
  std::filesystem::path trace;  // trace: a safetensors file with `topk_ids` [tokens, top_k]
  std::string trace_hash;       // of the file's bytes: the content is the key, not the name
  bool operator==(const RoutingDistribution&) const = default;
};
std::string to_text(
    const RoutingDistribution&);  // "uniform", "zipf(1.2)", "trace: ids.safetensors"

// What lies in the last-level cache when a layer starts.
enum class Cache { warm, cold_weights, cold_all };
template <>
inline constexpr NameTable<Cache, 3> kNames<Cache>{
    {{Cache::warm, "warm"}, {Cache::cold_weights, "cold_weights"}, {Cache::cold_all, "cold_all"}}};

// One layer, one way to execute it, one workload, one device: the unit a sweep expands into.
struct Case {
  LayerSpec layer;
  Variant variant;
  int tokens = 0;
  int tp = 1;  // what runs is measured_shard(layer, tp)
  RoutingDistribution routing;
  Cache cache = Cache::cold_weights;
  std::string device = "cpu";
  uint64_t seed = 1;
};

// Every semantic field, one "key=value" per line: the same text means the same case.
std::string canonical_text(const Case&);
std::string weights_text(const Case&);         // the same text means the same drawn weights
bool same_workload(const Case&, const Case&);  // they differ in their variant at most
std::string case_id(const Case&);              // 16 hex digits of XXH3-64 over canonical_text
std::string hash_text(const std::string&);     // the same hash for any text: step keys, plan hashes

}  // namespace fse
