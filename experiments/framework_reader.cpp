#include "experiments/framework_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/error.h"
#include "core/strict_json.h"
#include "experiments/config_file.h"
#include "experiments/yaml_reader.h"

namespace fse {
namespace {

Width read_width(const YamlNode& map, const std::string& key, const std::string& of) {
  const YamlNode& node = need(map, key, of);
  const std::string expected =
      "a sum of products of numbers and " + all_names<Dim>() + ", such as 2*shared_width + hidden";
  const auto width = parse_width(read_text(node, of + "." + key, expected));
  if (!width) fail_value(node, of + "." + key, expected);
  return *width;
}

std::optional<bool> read_flag(const YamlNode& map, const std::string& key, const std::string& of) {
  const YamlNode* node = find_key(map, key);
  if (node == nullptr) return std::nullopt;
  return read_choice(*node, of + "." + key, {"true", "false"}) == "true";
}

KernelCondition read_condition(const YamlNode& map, const std::string& of) {
  require_map(map, of, {"gate", "topk", "shared", "shared_gate", "query_rank", "ranks"});
  KernelCondition when;
  if (const YamlNode* node = find_key(map, "gate")) when.gate = read_names<Gate>(*node, of);
  if (const YamlNode* node = find_key(map, "topk")) when.topk = read_names<Topk>(*node, of);
  if (const YamlNode* node = find_key(map, "shared")) when.shared = read_names<Shared>(*node, of);
  when.shared_gate = read_flag(map, "shared_gate", of);
  when.query_rank = read_flag(map, "query_rank", of);
  when.ranks = read_flag(map, "ranks", of);
  return when;
}

// What a kernel of this kind has to say of its shape.
std::vector<std::string> shape_keys(KernelWork work) {
  if (work == KernelWork::gemm) return {"n", "k", "weights"};
  if (work == KernelWork::experts) return {};
  return {"width"};
}

InventoryKernel read_kernel(const YamlNode& map, const std::string& section) {
  const KernelWork work = read_name<KernelWork>(need(map, "work", section), section + ".work");
  std::vector<std::string> keys{"name", "work", "when", "stream", "source", "date", "kind"};
  for (const std::string& key : shape_keys(work)) keys.push_back(key);
  require_map(map, section, keys);
  InventoryKernel kernel{
      .name = read_text(need(map, "name", section), section + ".name", "the kernel's name"),
      .work = work,
      .provenance = read_provenance(map, section)};
  if (work == KernelWork::gemm) {
    kernel.n = read_width(map, "n", section);
    kernel.k = read_width(map, "k", section);
    kernel.layer_weights = read_choice(need(map, "weights", section), section + ".weights",
                                       {"layer", "bf16"}) == "layer";
  } else if (work != KernelWork::experts) {
    kernel.width = read_width(map, "width", section);
  }
  if (const YamlNode* node = find_key(map, "stream"))
    kernel.side = read_choice(*node, section + ".stream", {"side"}) == "side";
  if (const YamlNode* node = find_key(map, "when"))
    kernel.when = read_condition(*node, section + ".when");
  return kernel;
}

std::vector<InventoryKernel> read_section(const YamlNode& node, const std::string& section) {
  std::vector<InventoryKernel> kernels;
  std::set<std::string> names;
  for (const YamlNode& item : read_list(node, section)) {
    require_map_kind(item, section);
    kernels.push_back(read_kernel(item, section));
    if (!names.insert(kernels.back().name).second)
      fail_usage(fmt::format("{}: {} has '{}' twice, expected each kernel once", item.where,
                             section, printable(kernels.back().name)));
  }
  return kernels;
}

KernelInventory read_inventory(const YamlNode& node) {
  std::vector<std::string> names;
  for (const InventorySection& section : kInventorySections) names.emplace_back(section.name);
  require_map(node, "kernels", names);
  KernelInventory inventory;
  for (const InventorySection& section : kInventorySections) {
    const std::string name(section.name);
    inventory.*section.kernels = read_section(need(node, name, "kernels"), name);
  }
  return inventory;
}

}  // namespace

FrameworkModel parse_framework(const std::string& yaml, const std::string& file) {
  const YamlNode root = parse_yaml(yaml, file);
  require_map(root, "the framework",
              {"name", "max_batched_tokens", "capture_sizes", "host_us", "host_token_us",
               "random_prompts", "kernels"});
  FrameworkModel framework;
  framework.name =
      read_text(need(root, "name", "the framework"), "name", "the framework and its version");
  const auto value = [&](const std::string& key, const std::string& unit) -> const YamlNode& {
    const YamlNode& map = need(root, key, "the framework");
    require_map(map, key, {"value", "unit", "source", "date", "kind"});
    read_choice(need(map, "unit", key), key + ".unit", {unit});
    framework.provenance.emplace_back(key, read_provenance(map, key));
    return need(map, "value", key);
  };
  framework.max_batched_tokens = static_cast<int>(
      read_integer(value("max_batched_tokens", "tokens"), "max_batched_tokens.value", 1, 1 << 20));
  const YamlNode& sizes = value("capture_sizes", "tokens");
  framework.capture_sizes = read_integers(sizes, "capture_sizes.value", 1, 1 << 20);
  if (!std::is_sorted(framework.capture_sizes.begin(), framework.capture_sizes.end()))
    fail_value(sizes, "capture_sizes.value", "ascending sizes");
  framework.host_us = read_number(value("host_us", "us"), "host_us.value", 0, 1e6);
  framework.host_token_us =
      read_number(value("host_token_us", "us"), "host_token_us.value", 0, 1e6);
  framework.random_prompts = read_prior(value("random_prompts", "1"), "random_prompts.value");
  framework.kernels = read_inventory(need(root, "kernels", "the framework"));
  return framework;
}

FrameworkModel find_framework(const std::string& name, const std::filesystem::path& configs_dir) {
  const auto file =
      find_config(name, fmt::format("serving.framework '{}' has no inventory", printable(name)),
                  configs_dir / "frameworks");
  FrameworkModel framework = parse_framework(read_config(file), file.string());
  if (framework.name != name)
    fail_usage(fmt::format("{}: name is '{}', expected '{}', as the file", file.string(),
                           printable(framework.name), name));
  return framework;
}

}  // namespace fse
