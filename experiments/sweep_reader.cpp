#include "experiments/sweep_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/nearest.h"
#include "core/read_file.h"
#include "experiments/yaml_reader.h"

namespace fse {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxTp = 1024;

// Where relative paths of a value start: the file's folder, or where the user typed it.
fs::path resolve(const YamlNode& node, const std::string& text, const fs::path& folder) {
  const fs::path path(text);
  if (path.is_absolute()) return path;
  return fs::absolute(node.from_override ? path : folder / path).lexically_normal();
}

RoutingDistribution read_trace(const YamlNode& node, const fs::path& folder) {
  require_map(node, "routing", {"trace"});
  const YamlNode& file = node.entries.front().value;
  const std::string text = read_text(file, "routing.trace", "a safetensors file with topk_ids");
  RoutingDistribution routing{.kind = RoutingKind::trace, .trace = resolve(file, text, folder)};
  std::error_code error;
  const bool regular = fs::is_regular_file(routing.trace, error);
  const std::optional<std::string> content = regular ? read_file(routing.trace) : std::nullopt;
  if (!content)
    fail_value(file, "routing.trace",
               fmt::format("a file that can be read, found none at {}", routing.trace.string()));
  routing.trace_hash = hash_text(*content);
  return routing;
}

}  // namespace

std::string read_study(const YamlNode& node) {
  const std::string expected = "a name of up to 100 letters, digits, '.', '_' and '-'";
  const std::string name = read_text(node, "study", expected);
  const bool fits = name.size() <= 100 && std::all_of(name.begin(), name.end(), [](char c) {
                      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                             (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
                    });
  if (!fits || name.front() == '.' || name.front() == '-') fail_value(node, "study", expected);
  // Other readers of the same YAML would see a truth value here.
  const std::vector<std::string> booleans{"y", "n", "yes", "no", "on", "off", "true", "false"};
  std::string lower = name;
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  if (!node.quoted && std::find(booleans.begin(), booleans.end(), lower) != booleans.end())
    fail_value(node, "study", expected + ", in quotes where YAML takes it for a boolean");
  return name;
}

std::string read_device(const YamlNode& node) {
  const std::string expected = "auto, cpu, hip:0, replay:FOLDER, emu:gfx942 or sim:mi355x";
  const std::string name = read_text(node, "device", expected);
  const std::string kind = name.substr(0, name.find(':'));
  const std::vector<std::string> bare{"auto", "cpu"};
  const std::vector<std::string> kinds{"hip", "emu", "sim", "fault", "replay"};
  const std::vector<std::string>& names = kind == name ? bare : kinds;
  const bool known = std::find(names.begin(), names.end(), kind) != names.end();
  const bool text = std::all_of(name.begin(), name.end(), [](char c) { return c > ' '; });
  if (!known || !text || name.back() == ':') fail_value(node, "device", expected);
  return name;
}

std::vector<int> read_tp(const YamlNode& node, const std::string& key) {
  return read_integers(node, key, 1, kMaxTp);
}

ModelEntry read_model(const YamlNode& node, const fs::path& folder) {
  const std::string expected = "a preset's name, a config.json, or {name: NAME, tp: [4]}";
  ModelEntry entry{.where = node.where};
  const YamlNode* name = &node;
  if (node.kind == YamlNode::Kind::map) {
    require_map(node, "models", {"name", "tp", "dtypes"});
    name = find_key(node, "name");
    if (name == nullptr) fail_value(node, "models", expected);
    if (const YamlNode* tp = find_key(node, "tp")) entry.tp = read_tp(*tp, "models.tp");
    if (const YamlNode* dtypes = find_key(node, "dtypes"))
      entry.dtypes = read_names<DType>(*dtypes, "models.dtypes");
  }
  entry.name = read_text(*name, "models", expected);
  const bool is_path = entry.name.find('/') != std::string::npos || entry.name.ends_with(".json");
  if (is_path) entry.path = resolve(*name, entry.name, folder);
  return entry;
}

RoutingDistribution read_routing(const YamlNode& node, const fs::path& folder) {
  if (node.kind == YamlNode::Kind::map) return read_trace(node, folder);
  const std::string expected =
      "uniform, zipf(s) with 0 < s <= 10, dirichlet(a) with 0.001 <= a <= 1000, or trace: FILE";
  const std::string text = read_text(node, "routing", expected);
  if (text == "uniform") return {};
  const std::optional<Call> call = parse_call(text);
  const std::optional<double> value =
      call && call->arguments.size() == 1 ? parse_number(call->arguments[0]) : std::nullopt;
  if (value && call->name == "zipf" && *value > 0 && *value <= 10)
    return {.kind = RoutingKind::zipf, .parameter = *value};
  if (value && call->name == "dirichlet" && *value >= 0.001 && *value <= 1000)
    return {.kind = RoutingKind::dirichlet, .parameter = *value};
  fail_value(
      node, "routing",
      expected + did_you_mean(text.substr(0, text.find('(')), {"uniform", "zipf", "dirichlet"}));
}

}  // namespace fse
