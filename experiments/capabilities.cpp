#include "experiments/capabilities.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>

#include "core/error.h"
#include "core/model_import.h"
#include "core/variant.h"
#include "experiments/device_choice.h"
#include "kernels/catalog.h"
#include "reports/table.h"

namespace fse {
namespace {

using Reasons = std::vector<std::string>;

// Of several ways to run something: nothing where one has no reason against it, else the reasons
// that all of them share, or the first one's where they share none.
Reasons common_reasons(const std::vector<Reasons>& ways) {
  Reasons common = ways.front();
  for (const Reasons& way : ways)
    std::erase_if(common, [&](const std::string& reason) {
      return std::find(way.begin(), way.end(), reason) == way.end();
    });
  const bool possible =
      std::any_of(ways.begin(), ways.end(), [](const Reasons& r) { return r.empty(); });
  if (possible) return {};
  return common.empty() ? ways.front() : common;
}

struct Subject {
  std::vector<LayerSpec> layers;  // one model, or a layer of each kind where none is named
  const DeviceInfo& device;
  bool is_model = false;  // its kernels are asked, too: not all of them take every shape
};

Reasons reasons_against(const Subject& subject, const LayerSpec& layer, const Variant& variant) {
  constexpr int kTokens = 16;
  Reasons reasons = check(layer, variant, subject.device);
  if (!reasons.empty() || !subject.is_model) return reasons;
  const LayerPlan plan =
      make_plan(layer, make_shard(layer, 1, 0), variant, kTokens, subject.device);
  if (std::string why = missing_kernel(plan, subject.device); !why.empty())
    reasons.push_back(std::move(why));
  return reasons;
}

// Reasons against every layer and variant that `keep` keeps.
Reasons reasons_for(const Subject& subject, const std::function<bool(const Variant&)>& keep,
                    const std::function<void(LayerSpec&)>& change) {
  std::vector<Reasons> ways;
  for (LayerSpec layer : subject.layers) {
    change(layer);
    for (const Variant& variant : all_variants())
      if (keep(variant)) ways.push_back(reasons_against(subject, layer, variant));
  }
  return common_reasons(ways);
}

void add_row(Table& table, const std::string& axis, const std::string& value,
             const Reasons& reasons) {
  table.rows.push_back({axis, value, reasons.empty() ? "yes" : "no",
                        escape_markdown(fmt::format("{}", fmt::join(reasons, "; ")))});
}

template <class E>
void add_axis(Table& table, const Subject& subject, const std::string& axis, E Variant::*member) {
  for (const auto& [value, name] : kNames<E>) {
    const auto keep = [&, v = value](const Variant& variant) { return variant.*member == v; };
    add_row(table, axis, std::string(name), reasons_for(subject, keep, [](LayerSpec&) {}));
  }
}

bool any_variant(const Variant&) {
  return true;
}

void add_dtypes(Table& table, const Subject& subject) {
  for (const auto& [dtype, name] : kNames<DType>)
    add_row(table, "dtypes", std::string(name),
            reasons_for(subject, any_variant, [&, d = dtype](LayerSpec& l) { l.dtype = d; }));
  for (const auto& [activations, name] : kNames<Activations>)
    add_row(table, "activations", std::string(name),
            reasons_for(subject, any_variant, [&, a = activations](LayerSpec& layer) {
              layer.activations = a;
              if (a == Activations::fp8) layer.dtype = DType::fp8_block128;
            }));
}

bool runs_in_some_dtype(const Subject& subject) {
  const auto& dtypes = subject.device.dtypes;
  return std::any_of(dtypes.begin(), dtypes.end(), [&](DType dtype) {
    return reasons_for(subject, any_variant, [&](LayerSpec& l) { l.dtype = dtype; }).empty();
  });
}

void add_shards(Table& table, const LayerSpec& layer) {
  for (const int tp : {1, 2, 4, 8}) {
    Reasons reasons;
    try {
      make_shard(layer, tp, 0);
    } catch (const Refused& refused) {
      reasons.emplace_back(
          std::string_view(refused.what()).substr(std::string_view("refused: ").size()));
    }
    add_row(table, "tp", std::to_string(tp), reasons);
  }
}

// With and without a shared expert: what one forbids, the other may allow.
std::vector<LayerSpec> any_layer() {
  LayerSpec shared;
  shared.shared = {.count = 1, .shared_width = 1, .weight = SharedWeight::sigmoid_gate};
  return {shared, LayerSpec{}};
}

// {0, 1, 2, 5}: "0-2, 5". Ascending indices.
std::string index_ranges(const std::vector<int>& indices) {
  std::vector<std::string> ranges;
  for (size_t begin = 0, end = 0; begin < indices.size(); begin = end) {
    while (end < indices.size() && indices[end] - indices[begin] == static_cast<int>(end - begin))
      ++end;
    ranges.push_back(end - begin == 1 ? std::to_string(indices[begin])
                                      : fmt::format("{}-{}", indices[begin], indices[end - 1]));
  }
  return fmt::format("{}", fmt::join(ranges, ", "));
}

void print_layer(const ModelConfig& config) {
  const LayerSpec& layer = config.layer;
  fmt::print(
      "{}: hidden {}, intermediate {}, {} experts, top_k {}, shared_width {}, gate_rows {}\n",
      config.name, layer.hidden, layer.intermediate, layer.routing.experts, layer.routing.top_k,
      layer.shared.shared_width, layer.gate_rows());
  fmt::print("{} layers, dense: {}; stored as {}{}\n\n", config.num_layers,
             config.dense_layers.empty() ? "none" : index_ranges(config.dense_layers),
             config.storage,
             config.storage_supported ? "" : " (these weights cannot be loaded; random ones run)");
  for (const std::string& note : config.notes) fmt::print("note: {}\n\n", note);
}

}  // namespace

int print_capabilities(const std::string& model, const std::string& device_name,
                       const std::filesystem::path& configs_dir) {
  std::vector<LayerSpec> layers = any_layer();
  if (!model.empty()) {
    const ModelConfig config = find_model(model, configs_dir);
    print_layer(config);
    layers = {config.layer};
  }
  const auto backend = open_device(device_name);
  const Subject subject{
      .layers = std::move(layers), .device = backend->device(), .is_model = !model.empty()};
  Table table{.titles = {"<axis", "<value", fmt::format("<{}", subject.device.name), "<why not"}};
  add_axis(table, subject, "gate", &Variant::gate);
  add_axis(table, subject, "topk", &Variant::topk);
  add_axis(table, subject, "shared", &Variant::shared);
  add_axis(table, subject, "experts", &Variant::experts);
  add_axis(table, subject, "launch", &Variant::launch);
  add_dtypes(table, subject);
  if (!model.empty()) add_shards(table, subject.layers.front());
  fmt::print("{}", to_markdown(table));
  return runs_in_some_dtype(subject) ? 0 : 2;
}

}  // namespace fse
