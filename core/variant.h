#pragma once
#include <string>
#include <vector>

#include "core/device.h"
#include "core/layer_spec.h"

namespace fse {

enum class Gate { separate, fused };
enum class Topk { unfused, fused };
enum class Shared { none, mlp, mlp_overlapped, slot };
enum class Experts { staged, fused };
enum class Launch { stream, graph };

template <>
inline constexpr NameTable<Gate, 2> kNames<Gate>{
    {{Gate::separate, "separate"}, {Gate::fused, "fused"}}};
template <>
inline constexpr NameTable<Topk, 2> kNames<Topk>{
    {{Topk::unfused, "unfused"}, {Topk::fused, "fused"}}};
template <>
inline constexpr NameTable<Shared, 4> kNames<Shared>{{{Shared::none, "none"},
                                                      {Shared::mlp, "mlp"},
                                                      {Shared::mlp_overlapped, "mlp_overlapped"},
                                                      {Shared::slot, "slot"}}};
template <>
inline constexpr NameTable<Experts, 2> kNames<Experts>{
    {{Experts::staged, "staged"}, {Experts::fused, "fused"}}};
template <>
inline constexpr NameTable<Launch, 2> kNames<Launch>{
    {{Launch::stream, "stream"}, {Launch::graph, "graph"}}};

// How a layer is *executed*: five independent choices.
struct Variant {
  Gate gate = Gate::separate;
  Topk topk = Topk::unfused;
  Shared shared = Shared::mlp;
  Experts experts = Experts::staged;
  Launch launch = Launch::stream;
  bool operator==(const Variant&) const = default;
};

// "gate=separate topk=unfused shared=mlp experts=staged launch=stream"
std::string to_text(const Variant&);
// "separate/unfused/mlp/staged/stream": the short form of reports and logs.
std::string to_label(const Variant&);

// The capability matrix: every reason why this device cannot run this layer this way; empty when
// it can. Each reason is one line, e.g. "gate=fused: the layer has no shared gate".
std::vector<std::string> check(const LayerSpec&, const Variant&, const DeviceInfo&);

// All 2*2*4*2*2 combinations, in the order of the enumerators.
std::vector<Variant> all_variants();

}  // namespace fse
