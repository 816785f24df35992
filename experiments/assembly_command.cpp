#include "experiments/assembly_command.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <map>

#include "core/error.h"
#include "core/model_import.h"
#include "core/parallel.h"
#include "experiments/assembly_table.h"
#include "experiments/device_choice.h"
#include "kernels/assembly.h"
#include "kernels/catalog.h"
#include "kernels/gpu/layer.h"

namespace fse {
namespace {

namespace fs = std::filesystem;

constexpr size_t kSample = 16;
constexpr int kTokens = 16, kManyTokens = 1024;  // sampled; default tiles only

struct Wanted {
  JitRequest request;
  gpu::Launch launch;
};
struct Instances {
  std::map<std::string, Wanted> defaults, others;  // by name: variants share most of theirs
};

// A shared gate, and every number format.
std::vector<LayerSpec> layers(const fs::path& configs_dir) {
  std::vector<LayerSpec> all;
  LayerSpec layer = find_model("qwen3-next-80b-a3b", configs_dir).layer;
  for (const DType dtype : {DType::bf16, DType::fp8_block128}) {
    layer.dtype = dtype;
    layer.activations = Activations::bf16;
    all.push_back(layer);
  }
  layer.activations = Activations::fp8;
  all.push_back(layer);
  return all;
}

void add_plan(Instances& all, const LayerPlan& plan, const DeviceInfo& device) {
  for (const Step& step : plan.steps)
    for (const KernelDef* def : kernels_for(step.op, device.kind)) {
      bool first = true;
      for (const Tile& tile : tiles(*def, plan, step, device)) {
        const std::string name = def->instance(tile, plan, step);
        auto& among = first ? all.defaults : all.others;
        among.emplace(name, Wanted{{def->header, name}, def->launch(tile, plan, step, device)});
        first = false;
        if (plan.tokens != kTokens) break;
      }
    }
}

// The sample is those with the smallest hashes: a new tile changes little of it.
std::vector<std::pair<bool, Wanted>> chosen(const Instances& all) {
  std::vector<std::pair<bool, Wanted>> list;
  for (const auto& [name, wanted] : all.defaults) list.emplace_back(true, wanted);
  std::vector<std::pair<XXH64_hash_t, const Wanted*>> order;
  for (const auto& [name, wanted] : all.others)
    if (!all.defaults.contains(name))
      order.emplace_back(XXH3_64bits(name.data(), name.size()), &wanted);
  std::sort(order.begin(), order.end());
  for (size_t i = 0; i < std::min(kSample, order.size()); ++i)
    list.emplace_back(false, *order[i].second);
  return list;
}

AssemblyTable compile_all(const std::string& arch, const fs::path& configs_dir) {
  const DeviceInfo device = typical_gpu(arch);
  Instances all;
  for (const LayerSpec& layer : layers(configs_dir))
    for (const Variant& variant : all_variants())
      if (check(layer, variant, device).empty())
        for (const int tokens : {kTokens, kManyTokens})
          add_plan(all, make_plan(layer, make_shard(layer, 1, 0), variant, tokens, device), device);
  const AmdCompiler compiler = open_amd_compiler(arch, backend_config().device_dir);
  const auto list = chosen(all);
  AssemblyTable table{.compiler = compiler.version};
  table.rows.resize(list.size());
  try {
    parallel_for(static_cast<int64_t>(list.size()), backend_config().compile_threads,
                 [&](int64_t i) {
                   const auto& [is_default, wanted] = list[static_cast<size_t>(i)];
                   Assembly& row = table.rows[static_cast<size_t>(i)];
                   row = read_assembly(assembly_of(compiler, wanted.request), arch,
                                       wanted.launch.threads, wanted.launch.lds_bytes);
                   row.instance = wanted.request.expression;
                   row.is_default = is_default;
                   if (row.lds_bytes != wanted.launch.lds_bytes)
                     throw Error(ErrorKind::environment,
                                 fmt::format("{} needs {} bytes of LDS, fits() says {}",
                                             row.instance, row.lds_bytes, wanted.launch.lds_bytes));
                 });
  } catch (...) {
    fs::remove_all(compiler.bitcode);
    throw;
  }
  fs::remove_all(compiler.bitcode);
  return table;
}

fs::path table_file(const std::string& arch, const fs::path& configs_dir) {
  return configs_dir / "assembly" / (arch + ".tsv");
}

}  // namespace

int run_assembly(const AssemblyOptions& options, const fs::path& configs_dir) {
  if (options.table) {
    std::vector<std::pair<std::string, AssemblyTable>> tables;
    for (const char* arch : {"gfx90a", "gfx942", "gfx950"})
      tables.emplace_back(arch, read_assembly_table(table_file(arch, configs_dir)));
    fmt::print("{}", assembly_markdown(tables));
    return 0;
  }
  const AssemblyTable now = compile_all(options.arch, configs_dir);
  if (!options.check) {
    fmt::print("{}", to_text(now));
    return 0;
  }
  const fs::path file = table_file(options.arch, configs_dir);
  const AssemblyTable recorded = fs::exists(file) ? read_assembly_table(file) : AssemblyTable{};
  const std::vector<std::string> worse = regressions(now, recorded);
  for (const std::string& line : worse) fmt::print("WORSE {}\n", line);
  if (now.compiler != recorded.compiler)
    fmt::print("note: recorded with {}, this is {}: only spills and matrix instructions checked\n",
               recorded.compiler.empty() ? "nothing yet" : recorded.compiler, now.compiler);
  fmt::print("{} instances for {}: {} got worse than {}\n", now.rows.size(), options.arch,
             worse.size(), file.string());
  return worse.empty() ? 0 : 1;
}

void print_assembly(const std::string& kernel, const std::string& arch,
                    const fs::path& configs_dir) {
  const fs::path file = table_file(arch, configs_dir);
  if (!fs::exists(file)) return;
  const KernelDef* def = find_kernel(kernel);
  // "hip.grouped_stage1.stream" is stream<.., .., 1>: the op is the last argument of some.
  const std::string op = to_name(def->op);
  const std::string family = kernel.substr(kernel.rfind('.') + 1);
  const bool by_op = family == "stream" || family == "dense" || family == "plain";
  const std::string begin = fmt::format("fse::gpu::{}<", by_op ? family : op);
  const std::vector<std::string> ops{"gate_gemm", "grouped_stage1", "grouped_stage2", "mlp_stage1",
                                     "mlp_stage2"};
  const auto number = std::find(ops.begin(), ops.end(), op) - ops.begin();
  const std::string end = by_op ? fmt::format(", {}>", number) : ">";
  const AssemblyTable table = read_assembly_table(file);
  for (const Assembly& a : table.rows)
    if (a.instance.starts_with(begin) && a.instance.ends_with(end))
      fmt::print(
          "assembly  {}\n          {} vector registers, {} bytes spilled, LDS {}, {} waves "
          "per SIMD, {} loads of 16 bytes and {} narrower, {}{}\n",
          a.instance, a.vector_registers, a.spill_bytes, a.lds_bytes, a.occupancy, a.wide_loads,
          a.narrow_loads, a.matrix, a.is_default ? "" : " (sample)");
  fmt::print("compiled  {} ({})\n", table.compiler, file.string());
}

}  // namespace fse
