#include "experiments/sweep.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>

#include "core/error.h"
#include "core/nearest.h"
#include "core/strict_json.h"
#include "experiments/overrides.h"
#include "experiments/sweep_reader.h"
#include "experiments/yaml_reader.h"

namespace fse {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxTokens = 1 << 20;
constexpr size_t kMaxSweepBytes = 1 << 20;
const std::vector<std::string> kSweepKeys{
    "study", "models",   "device",   "dtypes", "activations", "tokens",  "tp",      "routing",
    "seeds", "variants", "baseline", "tune",   "tiles",       "measure", "serving", "without_fp8"};

const YamlNode& required(const YamlNode& root, const std::string& key) {
  const YamlNode* node = find_key(root, key);
  if (node == nullptr)
    fail_usage(fmt::format("{}: no key '{}', expected it in every sweep", root.where, key));
  return *node;
}

std::vector<uint64_t> read_seeds(const YamlNode& node) {
  std::vector<uint64_t> seeds;
  for (const int seed : read_integers(node, "seeds", 0, INT32_MAX))
    seeds.push_back(static_cast<uint64_t>(seed));
  return seeds;
}

SweepSpec read_tree(const YamlNode& root, const fs::path& folder) {
  require_map(root, "the sweep", kSweepKeys);
  SweepSpec spec;
  spec.study = read_study(required(root, "study"));
  for (const YamlNode& model : read_list(required(root, "models"), "models"))
    spec.models.push_back(read_model(model, folder));
  if (const auto* n = find_key(root, "serving")) spec.serving = read_serving(*n);
  if (find_key(root, "tokens") != nullptr || !spec.serving)
    spec.tokens = read_integers(required(root, "tokens"), "tokens", 1, kMaxTokens);
  if (const auto* n = find_key(root, "device")) spec.device = read_device(*n);
  if (const auto* n = find_key(root, "dtypes")) spec.dtypes = read_names<DType>(*n, "dtypes");
  if (const auto* n = find_key(root, "activations"))
    spec.activations = read_names<Activations>(*n, "activations");
  if (const auto* n = find_key(root, "without_fp8"))
    spec.without_fp8 = read_name<WithoutFp8>(*n, "without_fp8");
  if (const auto* n = find_key(root, "tp")) spec.tp = read_tp(*n, "tp");
  if (const auto* n = find_key(root, "routing")) {
    spec.routing.clear();
    for (const YamlNode& item : read_list(*n, "routing"))
      spec.routing.push_back(read_routing(item, folder));
  }
  if (const auto* n = find_key(root, "seeds")) spec.seeds = read_seeds(*n);
  if (const auto* n = find_key(root, "variants")) spec.variants = read_variants(*n);
  if (const auto* n = find_key(root, "baseline")) spec.baseline = read_baseline(*n);
  spec.tune = read_tune(find_key(root, "tune"), find_key(root, "tiles"));
  if (const auto* n = find_key(root, "measure")) spec.measure = read_measure(*n);
  return spec;
}

std::string read_bounded(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream || fs::is_directory(file))
    fail_usage(fmt::format("{}: cannot be read, expected a sweep (YAML)", file.string()));
  std::string text(kMaxSweepBytes + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(stream.gcount()));
  if (text.size() > kMaxSweepBytes)
    fail_usage(fmt::format("{}: larger than {} bytes, expected a sweep (YAML)", file.string(),
                           kMaxSweepBytes));
  return text;
}

}  // namespace

SweepSpec parse_sweep(const std::string& yaml, const fs::path& file,
                      const std::vector<std::string>& overrides) {
  YamlNode root = parse_yaml(yaml, file.string());
  const bool map = root.kind == YamlNode::Kind::map;
  if (map) apply_overrides(root, overrides);
  SweepSpec spec = read_tree(root, fs::absolute(file).parent_path());
  // Untouched text keeps its comments.
  spec.yaml_text = overrides.empty() ? yaml : to_yaml(root);
  return spec;
}

SweepSpec read_sweep(const fs::path& file, const std::vector<std::string>& overrides) {
  return parse_sweep(read_bounded(file), file, overrides);
}

fs::path find_sweep(const std::string& name_or_path, const fs::path& configs_dir) {
  std::error_code error;
  const fs::path path(name_or_path);
  if (fs::exists(path, error) && !fs::is_directory(path, error)) return path;
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(configs_dir / "sweeps", error))
    if (entry.path().extension() == ".yaml") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  if (std::find(names.begin(), names.end(), name_or_path) != names.end())
    return configs_dir / "sweeps" / (name_or_path + ".yaml");
  const bool override_text = name_or_path.find('=') != std::string::npos;
  fail_usage(fmt::format("sweep '{}': no such file, expected a YAML file or one of {}{}{}",
                         printable(name_or_path), fmt::join(names, ", "),
                         override_text ? ", before KEY=VALUE" : "",
                         did_you_mean(name_or_path, names)));
}

}  // namespace fse
