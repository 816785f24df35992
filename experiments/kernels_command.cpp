#include "experiments/kernels_command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <memory>

#include "core/error.h"
#include "core/model_import.h"
#include "core/nearest.h"
#include "experiments/assembly_command.h"
#include "experiments/compile_requests.h"
#include "experiments/device_choice.h"
#include "experiments/disassemble.h"
#include "kernels/blas_library.h"
#include "kernels/catalog.h"
#include "kernels/gpu/layer.h"
#include "kernels/jit.h"

namespace fse {
namespace {

const KernelDef& require_kernel(const std::string& name) {
  if (const KernelDef* found = find_kernel(name)) return *found;
  std::vector<std::string> names;
  for (const KernelDef& def : catalog()) names.push_back(def.name);
  fail_usage(fmt::format("unknown kernel '{}'{}; fselab kernels ls lists them", name,
                         did_you_mean(name, names)));
}

// With its vendor's library: kernels are shown, and compiled, for a machine that has it.
DeviceInfo gpu_of(const std::string& arch) {
  DeviceInfo device = typical_gpu(arch);
  device.library = blas_name(vendor_of(arch));
  return device;
}

LayerSpec layer_of(const KernelSubject& subject, const std::filesystem::path& configs) {
  LayerSpec layer = find_model(subject.model, configs).layer;
  const auto dtype = from_name<DType>(subject.dtype);
  if (!dtype)
    fail_usage(fmt::format("dtype '{}', expected one of {}", subject.dtype, all_names<DType>()));
  layer.dtype = *dtype;
  return layer;
}

// Every legal way to run the layer on the device.
std::vector<LayerPlan> plans_of(const KernelSubject& subject, const DeviceInfo& device,
                                const std::filesystem::path& configs) {
  const LayerSpec layer = layer_of(subject, configs);
  std::vector<LayerPlan> plans;
  for (const Variant& variant : all_variants()) {
    if (!check(layer, variant, device).empty()) continue;
    LayerPlan plan = make_plan(layer, make_shard(layer, 1, 0), variant, subject.tokens, device);
    if (missing_kernel(plan, device).empty()) plans.push_back(std::move(plan));
  }
  if (plans.empty())
    fail_usage(fmt::format("no variant of {} runs in {} on {}", subject.model, subject.dtype,
                           device.name));
  return plans;
}

struct Place {
  const LayerPlan* plan;
  const Step* step;
};
Place find_step(const std::vector<LayerPlan>& plans, Op op, const std::string& model) {
  for (const LayerPlan& plan : plans)
    for (const Step& step : plan.steps)
      if (step.op == op) return {&plan, &step};
  fail_usage(fmt::format("no variant of {} has a step for {}", model, to_name(op)));
}

Tile chosen_tile(const KernelDef& def, const Place& at, const DeviceInfo& device,
                 const std::string& changes) {
  Tile tile = def.default_tile(*at.plan, *at.step, device);
  for (const auto& [axis, value] : tile_from_text(changes).axes) {
    const auto it = std::find_if(tile.axes.begin(), tile.axes.end(),
                                 [&, name = axis](const auto& own) { return own.first == name; });
    if (it == tile.axes.end())
      fail_usage(fmt::format("{} has no axis '{}'; its default tile is '{}'", def.name, axis,
                             to_text(tile)));
    it->second = value;
  }
  std::string why = def.legal(tile);
  if (why.empty()) why = def.fits(tile, *at.plan, *at.step, device);
  if (!why.empty()) fail_usage(fmt::format("{} cannot run '{}': {}", def.name, to_text(tile), why));
  return tile;
}

void print_instance(const KernelDef& def, const Place& at, const Tile& tile,
                    const DeviceInfo& device, const ShowOptions& options) {
  const JitRequest request{def.header, def.instance(tile, *at.plan, *at.step)};
  if (request.expression.empty()) return fmt::print("instance  none: the library does it all\n");
  const gpu::Launch launch = def.launch(tile, *at.plan, *at.step, device);
  fmt::print("instance  {}\nlaunch    {} blocks of {} threads, {} bytes of dynamic LDS\n",
             request.expression, launch.blocks, launch.threads, launch.lds_bytes);
  std::unique_ptr<Jit> made;
  try {
    made = make_jit(device.arch);
  } catch (const Error& error) {  // without its compiler all but this is known
    if (options.assembly) throw;
    fmt::print("compiler  none here: {}\n", error.what());
    return;
  }
  const Jit& jit = *made;
  const Compiled result = jit.compile(request);
  if (const auto* failed = std::get_if<CompileFailed>(&result))
    throw Error(ErrorKind::environment,
                fmt::format("{} cannot compile it: {}", jit.compiler(), failed->reason));
  const auto& object = std::get<CodeObject>(result);
  fmt::print("compiler  {}\nresources {}\n", jit.compiler(), to_text(object.resources));
  if (options.source)
    for (const DeviceHeader& header : read_device_headers(backend_config().device_dir))
      if (header.name == "kernels/device/" + def.header) fmt::print("{}", header.text);
  if (options.assembly) fmt::print("{}", disassemble(object.image, device.arch));
}

}  // namespace

void show_kernel(const ShowOptions& options, const std::filesystem::path& configs_dir) {
  const KernelDef& def = require_kernel(options.kernel);
  const KernelSubject& subject = options.subject;
  const bool on_gpu = def.instance != nullptr;
  const DeviceInfo device = on_gpu ? gpu_of(subject.arch) : open_device("cpu")->device();
  const std::vector<LayerPlan> plans = plans_of(subject, device, configs_dir);
  const Place at = find_step(plans, def.op, subject.model);
  fmt::print("kernel    {}\nop        {}\ndevice    {} ({})\n", def.name, to_name(def.op),
             def.device, device.arch);
  for (const Axis& axis : def.axes)
    fmt::print("axis      {}: {}\n", axis.name, fmt::join(axis.values, ", "));
  const std::vector<Tile> legal = tiles(def, *at.plan, *at.step, device);
  fmt::print("step      {}\ntiles     {} legal\n", step_key(*at.plan, *at.step), legal.size());
  if (options.tiles)
    for (const Tile& tile : legal) fmt::print("          {}\n", to_text(tile));
  const Tile tile = chosen_tile(def, at, device, subject.tile);
  fmt::print("tile      {}\n", to_text(tile));
  if (!on_gpu) return;
  print_assembly(def.name, device.arch, configs_dir);
  print_instance(def, at, tile, device, options);
}

int compile_kernels(const CompileOptions& options, const std::filesystem::path& configs_dir) {
  const DeviceInfo device = gpu_of(options.subject.arch);
  std::map<std::string, JitRequest> wanted;  // variants share most of their instances
  for (const LayerPlan& plan : plans_of(options.subject, device, configs_dir))
    for (const Step& step : plan.steps)
      for (const KernelDef* def : kernels_for(step.op, device.kind))
        for (const Tile& tile : tiles(*def, plan, step, device)) {
          add_request({def, tile}, plan, step, wanted);
          if (!options.all_tiles) break;  // the default one comes first
        }
  return compile_requests(wanted, device.arch);
}

}  // namespace fse
