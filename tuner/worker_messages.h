#pragma once
#include <span>
#include <string>
#include <vector>

#include "core/case_fields.h"
#include "tuner/workbench.h"

// What the parent and its worker say to each other: a line of JSON each way.
//   {"do": "verify", "choice": {"kernel": "cpu.topk", "tile": "rows=4"}}
//   {"value": {...}} | {"failed": "wrong", "reason": "..."} | {"error": 3, "reason": "..."}
// `failed` ends an attempt (AttemptError), `error` is an Error of that kind, `mistake` is fselab's.

namespace fse {

// A choice by its names: kernels are looked up in the catalogue of whoever reads it.
struct ChoiceName {
  std::string kernel, tile;
};
ChoiceName name_of(const Choice&);
Choice choice_of(const ChoiceName&);  // Error(data) for a kernel that is not in the catalogue
std::vector<ChoiceName> names_of(std::span<const Choice>);
std::vector<Choice> choices_of(const std::vector<ChoiceName>&);

struct Greeting {
  DeviceInfo device;
  std::string toolchain;
};
struct Verified {
  Accuracy accuracy;
  std::optional<KernelResources> resources;
  int64_t peak_bytes = 0;
};

template <class Archive>
void fields(Archive& a, ChoiceName& c) {
  a("kernel", c.kernel);
  a("tile", c.tile);
}

template <class Archive>
void fields(Archive& a, Greeting& g) {
  a("device", g.device);
  a("toolchain", g.toolchain);
}

template <class Archive>
void fields(Archive& a, WorkloadSpec& w) {
  a("spec", w.spec);
  a("sets", w.sets);
  a("rounds", w.rounds);
}

template <class Archive>
void fields(Archive& a, Work& w) {
  a("bytes", w.bytes);
  a("flops", w.flops);
}

template <class Archive>
void fields(Archive& a, Accuracy& x) {
  a("rel_frobenius", x.rel_frobenius);
  a("worst", x.worst);
  a("bound", x.bound);
  a("first_bad", x.first_bad);
}

template <class Archive>
void fields(Archive& a, KernelResources& r) {
  a("registers", r.registers);
  a("lds_bytes", r.lds_bytes);
  a("spill_bytes", r.spill_bytes);
}

template <class Archive>
void fields(Archive& a, Verified& v) {
  a("accuracy", v.accuracy);
  a("resources", v.resources);
  a("peak_bytes", v.peak_bytes);
}

template <class Archive>
void fields(Archive& a, RoutingAgreement& r) {
  a("rows", r.rows);
  a("equal", r.equal);
  a("near_ties", r.near_ties);
  a("first_bad", r.first_bad);
}

template <class Archive>
void fields(Archive& a, LayerCheck& c) {
  a("output", c.output);
  a("routing", c.routing);
}

template <class Archive>
void fields(Archive& a, RunTimes& t) {
  a("layer_us", t.layer_us);
  a("step_us", t.step_us);
}

template <class Archive>
void fields(Archive& a, Load& l) {
  a("rows_per_expert", l.rows_per_expert);
}

// A field of a request.
template <class T>
T field(const nlohmann::json& request, const char* name) {
  T value;
  json_fields::Reader{request}(name, value);
  return value;
}

// One line, whatever bytes a kernel's log holds.
std::string to_line(const nlohmann::json&);

}  // namespace fse
