#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/case.h"
#include "core/kernel_cost.h"
#include "core/store.h"
#include "tuner/measure.h"
#include "tuner/tune_spec.h"

namespace fse {

// One entry of `models`: a preset or a config.json, with its own tp and dtypes where the sweep's do
// not suit it: {name: glm-4.7, tp: [4]}.
struct ModelEntry {
  std::string name;            // as written
  std::filesystem::path path;  // where `name` is a path: resolved; else empty
  std::vector<int> tp;         // empty: the sweep's
  std::vector<DType> dtypes;   // empty: the sweep's
  std::string where;           // "FILE:LINE:COL", for errors found when the model is read
};

// Values of each axis; their product is what a sweep compares.
struct VariantAxes {
  std::vector<Gate> gate{Gate::separate, Gate::fused};
  std::vector<Topk> topk{Topk::unfused, Topk::fused};
  std::vector<Shared> shared{Shared::mlp, Shared::mlp_overlapped, Shared::slot};
  std::vector<Experts> experts{Experts::staged};
  std::vector<Launch> launch;  // empty: graph where the device replays graphs, else stream
};

// Speed-ups are quoted against the variant with these values; an axis left out is compared like
// with like.
struct BaselineSpec {
  std::optional<Gate> gate;
  std::optional<Topk> topk;
  std::optional<Shared> shared;
  std::optional<Experts> experts;
  std::optional<Launch> launch;
};
inline constexpr BaselineSpec kDefaultBaseline{
    .gate = Gate::separate, .topk = Topk::unfused, .shared = Shared::mlp};

// A baseline that was measured: of its workload only the difference to it is predicted.
struct Anchor {
  std::string model;  // as written in `models`
  int tp = 1, isl = 0, osl = 0, concurrency = 0;
  double output_tok_s = 0;
};

// What `simulate` serves: every combination of prompt length, answer length and concurrency.
struct ServingSpec {
  std::vector<int> isl, osl, concurrency;
  std::string framework = "vllm-0.19-rocm";
  Scales scales = Scales::block128;  // of fp8 weights: which kernels the library has for them
  int prompts = 0;                   // of the run; 0: four times the concurrency
  std::vector<std::string>
      tables;  // of tuned kernels that the library has: files, or shipped names
  std::vector<Anchor> anchors;
};

// What becomes of dtype fp8_block128 on a device whose matrix units have no fp8.
enum class WithoutFp8 { refuse, bf16 };
template <>
inline constexpr NameTable<WithoutFp8, 2> kNames<WithoutFp8>{
    {{WithoutFp8::refuse, "refuse"}, {WithoutFp8::bf16, "bf16"}}};

struct SweepSpec {
  std::string study;
  std::vector<ModelEntry> models;
  std::string device = "auto";
  std::vector<DType> dtypes{DType::bf16};
  std::vector<Activations> activations{Activations::bf16};
  WithoutFp8 without_fp8 = WithoutFp8::refuse;
  std::vector<int> tokens;  // empty only where `serving` is given
  std::optional<ServingSpec> serving;
  std::vector<int> tp{1};
  std::vector<RoutingDistribution> routing{RoutingDistribution{}};
  std::vector<uint64_t> seeds{1};
  VariantAxes variants;
  BaselineSpec baseline = kDefaultBaseline;
  TuneSpec tune;
  MeasureSpec measure;
  std::string yaml_text;  // with the overrides applied: what the store keeps
};

// Both throw Error(usage) "FILE:LINE:COL: what, expected what" or "override 'KEY=VALUE': ...".
// Paths in the file are relative to its folder, those in overrides to the working directory.
SweepSpec read_sweep(const std::filesystem::path& file, const std::vector<std::string>& overrides);
SweepSpec parse_sweep(const std::string& yaml, const std::filesystem::path& file,
                      const std::vector<std::string>& overrides);

// A file, or the name of a file in CONFIGS/sweeps without .yaml.
std::filesystem::path find_sweep(const std::string& name_or_path,
                                 const std::filesystem::path& configs_dir);

// A sweep as the list of what is run and what is refused, each with its reason. The order is fixed:
// models, dtypes, activations, tp, routing, seeds, tokens, variants (axes in the order of Variant).
struct Expansion {
  std::vector<CaseRecord> cases;
  std::string plan_hash;  // of all cases, the tuning and the measuring settings
  // Lines for people: "note: " and what was merged, or the "refused: " line of a model that is not
  // implemented.
  std::vector<std::string> notes;
};
// Throws Refused with every reason where nothing legal remains, Error(data) for a damaged trace.
Expansion expand(const SweepSpec&, const DeviceInfo&, const std::filesystem::path& configs_dir);

}  // namespace fse
