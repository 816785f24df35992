#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <string>

#include "core/error.h"
#include "kernels/gpu/families.h"
#include "kernels/gpu/layer.h"
#include "kernels/gpu/library.h"
#include "kernels/jit.h"

// Every device kernel compiles for both vendors, without a GPU: the default tile of every op of
// every variant, and a seeded sample of all the others. `fselab kernels compile` does them all.
namespace fse {
namespace {

LayerSpec qwen3_next(DType dtype, Activations activations) {
  LayerSpec layer;
  layer.hidden = 2048;
  layer.intermediate = 512;
  layer.routing = {.experts = 512, .top_k = 10, .renormalize = true};
  layer.shared = {.count = 1, .shared_width = 512, .weight = SharedWeight::sigmoid_gate};
  layer.dtype = dtype;
  layer.activations = activations;
  return layer;
}

// Sigmoid scores, bias and groups, two ungated shared experts; rows that are no multiple of 128.
LayerSpec grouped_layer() {
  LayerSpec layer;
  layer.hidden = 1056;
  layer.intermediate = 160;
  layer.routing = {.experts = 64,
                   .top_k = 6,
                   .score = ScoreFunction::sigmoid,
                   .selection_bias = true,
                   .groups = 8,
                   .groups_kept = 4,
                   .group_score = GroupScore::sum_of_top2,
                   .renormalize = true,
                   .scaling = 2.5};
  layer.shared = {.count = 2, .shared_width = 320};
  layer.dtype = DType::f16;
  return layer;
}

std::vector<LayerSpec> layers(const DeviceInfo& device) {
  std::vector<LayerSpec> list{qwen3_next(DType::bf16, Activations::bf16),
                              qwen3_next(DType::fp8_block128, Activations::bf16), grouped_layer()};
  if (device.fp8_activations) list.push_back(qwen3_next(DType::fp8_block128, Activations::fp8));
  return list;
}

std::vector<KernelDef> all_rows() {
  std::vector<KernelDef> rows = gpu_matrix_kernels();
  for (auto family : {gpu_library_kernels, gpu_routing_kernels, gpu_row_kernels, gpu_layer_kernels})
    for (KernelDef& def : family()) rows.push_back(std::move(def));
  return rows;
}

KernelDef row_of(const std::string& name) {
  for (const KernelDef& def : all_rows())
    if (def.name == name) return def;
  throw std::logic_error("the catalogue has no " + name);
}

struct Instances {
  std::map<std::string, JitRequest> defaults;  // by expression: variants share most of them
  std::map<std::string, JitRequest> others;
  std::set<std::string> steps;  // whose tiles are in it already, with their kernel
};

void add_plan(Instances& all, const LayerPlan& plan, const DeviceInfo& device) {
  static const std::vector<KernelDef> rows = all_rows();
  for (const Step& step : plan.steps)
    for (const KernelDef& def : rows) {
      if (def.op != step.op) continue;
      const Tile first = def.default_tile(plan, step, device);
      CAPTURE(def.name);
      CAPTURE(to_text(first));
      CHECK(def.legal(first) == "");
      const std::string why_not = def.fits(first, plan, step, device);
      const bool not_all = def.header == "dense.h" || is_library(def.name);
      if (not_all && !why_not.empty()) continue;  // 16-bit weights, many tokens
      CHECK(why_not == "");
      const std::string name = def.instance(first, plan, step);
      if (name.empty()) continue;  // a library that leaves nothing to do
      all.defaults[name] = {def.header, name};
      if (!all.steps.insert(def.name + " " + step_key(plan, step)).second) continue;
      for (const Tile& tile : tiles(def, plan, step, device)) {
        const std::string other = def.instance(tile, plan, step);
        all.others[other] = {def.header, other};
      }
    }
}

Instances instances(const std::string& arch) {
  Instances all;
  DeviceInfo device = typical_gpu(arch);
  device.library = "any";
  for (const LayerSpec& layer : layers(device))
    for (const Variant& variant : all_variants()) {
      if (!check(layer, variant, device).empty()) continue;
      for (int tokens : {1, 64, 1024})
        add_plan(all, make_plan(layer, make_shard(layer, 1, 0), variant, tokens, device), device);
    }
  for (const auto& [name, request] : all.defaults) all.others.erase(name);
  return all;
}

std::vector<JitRequest> sampled(const Instances& all, size_t count) {
  std::vector<JitRequest> pool, picked;
  for (const auto& [name, request] : all.others) pool.push_back(request);
  std::mt19937 seeded(20261125);
  std::shuffle(pool.begin(), pool.end(), seeded);
  pool.resize(std::min(count, pool.size()));
  for (const auto& [name, request] : all.defaults) picked.push_back(request);
  picked.insert(picked.end(), pool.begin(), pool.end());
  return picked;
}

// The sanitizers are for fselab's code, and slow NVRTC and hipRTC down forty times: a few do there.
#ifdef __SANITIZE_ADDRESS__
constexpr size_t kMostInstances = 4;
#else
constexpr size_t kMostInstances = SIZE_MAX;
#endif

void compile_for(const std::string& arch) {
  try {
    open_rtc(arch);
  } catch (const Error& e) {
    MESSAGE("SKIPPED for " << arch << ": " << std::string(e.what()));
    return;
  }
  const Instances all = instances(arch);
  std::vector<JitRequest> requests = sampled(all, 24);
  requests.resize(std::min(requests.size(), kMostInstances));
  // Kept between runs of the tests: unchanged headers are compiled once per build folder.
  const Jit jit({.headers = read_device_headers(FSELAB_SOURCE_DIR "/kernels/device"),
                 .cache_dir = FSELAB_TEST_CACHE},
                arch);
  const auto results = jit.compile_all(requests, 2);
  for (size_t i = 0; i < results.size(); ++i) {
    CAPTURE(requests[i].expression);
    const auto* failed = std::get_if<CompileFailed>(&results[i]);
    CHECK_MESSAGE(!failed, failed->log);
    if (failed) continue;
    CHECK(std::get<CodeObject>(results[i]).resources.registers > 0);
  }
  MESSAGE(arch << " by " << jit.compiler() << ": " << requests.size() << " of "
               << all.defaults.size() << " default and " << all.others.size()
               << " other instances");
}

void set(Tile& tile, const std::string& axis, int value) {
  for (auto& [name, old] : tile.axes)
    if (name == axis) old = value;
}

TEST_CASE("device kernels compile for NVIDIA") {
  compile_for("sm_90");
}

TEST_CASE("device kernels compile for AMD") {
  compile_for("gfx90a");
}

TEST_CASE("a tile the host refuses is refused by the kernel in the same words") {
  const DeviceInfo device = typical_gpu("sm_90");
  const LayerSpec layer = qwen3_next(DType::bf16, Activations::bf16);
  const LayerPlan plan = make_plan(layer, make_shard(layer, 1, 0), Variant{}, 4, device);
  const KernelDef def = row_of("hip.gate_gemm.stream");
  Tile tile = def.default_tile(plan, plan.steps[0], device);
  set(tile, "warps", 5);
  CHECK(def.legal(tile).find("warps") != std::string::npos);
  try {
    const Jit jit({.headers = read_device_headers(FSELAB_SOURCE_DIR "/kernels/device")}, "sm_90");
    const Compiled result = jit.compile({def.header, def.instance(tile, plan, plan.steps[0])});
    REQUIRE(std::holds_alternative<CompileFailed>(result));
    CHECK(std::get<CompileFailed>(result).reason.find("legal") != std::string::npos);
  } catch (const Error& e) {
    MESSAGE("SKIPPED: " << std::string(e.what()));
  }
}

TEST_CASE("tiles are checked against the device they are for") {
  const LayerSpec layer = qwen3_next(DType::bf16, Activations::bf16);
  const DeviceInfo h100 = typical_gpu("sm_90"), mi300 = typical_gpu("gfx942");
  const LayerPlan plan = make_plan(layer, make_shard(layer, 1, 0), Variant{}, 64, h100);
  const Step& step = *std::find_if(plan.steps.begin(), plan.steps.end(),
                                   [](const Step& s) { return s.op == Op::grouped_stage1; });
  const KernelDef def = row_of("hip.grouped_stage1.stream");
  Tile tile = def.default_tile(plan, step, h100);
  set(tile, "warps", 16);
  set(tile, "ring", 6);  // 16 warps x 6 slices x 2 KB = 192 KB
  CHECK(def.fits(tile, plan, step, h100) == "");
  CHECK(def.fits(tile, plan, step, mi300) == "more LDS than the device has");
  Tile dependent = def.default_tile(plan, step, mi300);
  set(dependent, "dependent", 1);
  CHECK(def.fits(dependent, plan, step, mi300).find("dependent") != std::string::npos);
  CHECK(gpu_llc_bytes("gfx942", 4 << 20) == int64_t{256} << 20);  // not the die's L2
  CHECK(gpu_llc_bytes("sm_90", 50 << 20) == int64_t{50} << 20);
  CHECK_THROWS_AS(typical_gpu("sm_1"), Error);
}

}  // namespace
}  // namespace fse
