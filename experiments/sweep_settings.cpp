#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "core/error.h"
#include "core/nearest.h"
#include "core/plan.h"
#include "core/strict_json.h"
#include "experiments/sweep_reader.h"
#include "experiments/yaml_reader.h"

namespace fse {
namespace {

constexpr double kDefaultSeconds = 60;
constexpr int kMinRounds = 6;  // fewer samples have no 95 % interval of the median
const std::vector<std::string> kAxisKeys{"gate", "topk", "shared", "experts", "launch"};

template <class E>
void read_axis(const YamlNode& map, const std::string& axis, std::vector<E>& values) {
  if (const YamlNode* node = find_key(map, axis)) values = read_names<E>(*node, "variants." + axis);
}

template <class E>
void read_axis(const YamlNode& map, const std::string& axis, std::optional<E>& value) {
  if (const YamlNode* node = find_key(map, axis)) value = read_name<E>(*node, "baseline." + axis);
}

// "12.5%" with the unit "%" is 12.5.
std::optional<double> number_with_unit(const std::string& text, const std::string& unit) {
  if (!text.ends_with(unit)) return std::nullopt;
  const std::optional<double> value = parse_number(text.substr(0, text.size() - unit.size()));
  return value && *value > 0 ? value : std::nullopt;
}

const std::string kBudgets =
    "seconds (60s), minutes (2m), evaluations (200), a share of the tiles (10%), no_gain(50), "
    "none, "
    "or a list of these with none of a kind twice";

// "no_gain(50)" is 50.
std::optional<int64_t> count_in(const std::string& text, const std::string& word) {
  if (!text.starts_with(word + "(") || !text.ends_with(")")) return std::nullopt;
  return parse_integer(text.substr(word.size() + 1, text.size() - word.size() - 2));
}

// False for what is no limit, or one of a kind that is set.
bool set_limit(const std::string& text, TuneSpec& tune) {
  constexpr double kDay = 86400;
  constexpr int64_t kMost = 1000000;
  const std::optional<double> minutes = number_with_unit(text, "m");
  const std::optional<double> seconds = minutes ? *minutes * 60 : number_with_unit(text, "s");
  if (seconds) {
    if (*seconds > kDay || tune.seconds) return false;
    tune.seconds = seconds;
    return true;
  }
  if (const std::optional<double> percent = number_with_unit(text, "%")) {
    if (*percent > 100 || tune.fraction) return false;
    tune.fraction = *percent / 100;
    return true;
  }
  const std::optional<int64_t> no_gain = count_in(text, "no_gain");
  const std::optional<int64_t> number = no_gain ? no_gain : parse_integer(text);
  std::optional<int>& limit = no_gain ? tune.no_gain : tune.evaluations;
  if (!number || *number < 1 || *number > kMost || limit) return false;
  limit = static_cast<int>(*number);
  return true;
}

// The first limit that is reached ends a search.
void read_budget(const YamlNode& node, TuneSpec& tune) {
  tune.seconds.reset();
  const std::vector<YamlNode> limits = read_list(node, "tune.budget");
  for (const YamlNode& limit : limits) {
    const std::string text = read_text(limit, "tune.budget", kBudgets);
    if (text == "none" && limits.size() == 1) return;
    if (!set_limit(text, tune)) fail_value(limit, "tune.budget", kBudgets);
  }
}

// Catalogue rows are "device.op.family"; that they exist is checked where the device is known.
void require_target(const YamlEntry& entry) {
  const bool kernel = entry.key.find('.') != std::string::npos &&
                      std::all_of(entry.key.begin(), entry.key.end(), [](unsigned char c) {
                        return std::isalnum(c) || c == '.' || c == '_';
                      });
  if (kernel || from_name<Op>(entry.key)) return;
  fail_usage(fmt::format("{}: '{}' in tiles is no op, expected one of {}, or a kernel's name{}",
                         entry.where, printable(entry.key), all_names<Op>(),
                         did_you_mean(entry.key, names_of<Op>())));
}

std::vector<TileRestriction> read_tiles(const YamlNode& node) {
  const std::string expected = "a map such as {grouped_stage1: {block: [64, 128]}}";
  if (node.kind != YamlNode::Kind::map || node.entries.empty()) fail_value(node, "tiles", expected);
  std::vector<TileRestriction> restrictions;
  for (const YamlEntry& target : node.entries) {
    require_target(target);
    const std::string key = "tiles." + target.key;
    if (target.value.kind != YamlNode::Kind::map || target.value.entries.empty())
      fail_value(target.value, key, "a map of axes and their values");
    for (const YamlEntry& axis : target.value.entries) {
      const bool name = std::all_of(axis.key.begin(), axis.key.end(),
                                    [](unsigned char c) { return std::isalnum(c) || c == '_'; });
      if (!name || axis.key.empty())
        fail_usage(fmt::format("{}: '{}' in {} is no axis, expected a name such as rows",
                               axis.where, printable(axis.key), key));
      restrictions.push_back({.target = target.key,
                              .axis = axis.key,
                              .values = read_integers(axis.value, key + "." + axis.key, 0, 1 << 20),
                              .where = axis.where});
    }
  }
  return restrictions;
}

}  // namespace

VariantAxes read_variants(const YamlNode& node) {
  require_map(node, "variants", kAxisKeys);
  VariantAxes axes;
  read_axis(node, "gate", axes.gate);
  read_axis(node, "topk", axes.topk);
  read_axis(node, "shared", axes.shared);
  read_axis(node, "experts", axes.experts);
  read_axis(node, "launch", axes.launch);
  return axes;
}

BaselineSpec read_baseline(const YamlNode& node) {
  require_map(node, "baseline", kAxisKeys);
  BaselineSpec base;
  read_axis(node, "gate", base.gate);
  read_axis(node, "topk", base.topk);
  read_axis(node, "shared", base.shared);
  read_axis(node, "experts", base.experts);
  read_axis(node, "launch", base.launch);
  return base;
}

TuneSpec read_tune(const YamlNode* tune, const YamlNode* tiles) {
  TuneSpec spec{.seconds = kDefaultSeconds};
  if (tune != nullptr) {
    require_map(*tune, "tune", {"strategy", "budget"});
    if (const YamlNode* n = find_key(*tune, "strategy"))
      spec.strategy = read_name<Strategy>(*n, "tune.strategy");
    if (const YamlNode* n = find_key(*tune, "budget")) read_budget(*n, spec);
  }
  if (tiles != nullptr) spec.tiles = read_tiles(*tiles);
  return spec;
}

MeasureSpec read_measure(const YamlNode& node) {
  require_map(node, "measure", {"cache", "min_rounds", "interval"});
  MeasureSpec measure;
  if (const auto* n = find_key(node, "cache"))
    measure.cache = read_name<Cache>(*n, "measure.cache");
  if (const auto* n = find_key(node, "min_rounds"))
    measure.min_rounds =
        static_cast<int>(read_integer(*n, "measure.min_rounds", kMinRounds, 100000));
  if (const auto* n = find_key(node, "interval")) {
    const std::string expected = "a percentage from 0.1% to 50%";
    const std::string text = read_text(*n, "measure.interval", expected);
    const std::optional<double> percent = number_with_unit(text, "%");
    if (!percent || *percent < 0.1 || *percent > 50) fail_value(*n, "measure.interval", expected);
    measure.interval = *percent / 100;
  }
  return measure;
}

namespace {

const YamlNode& need(const YamlNode& map, const std::string& key, const std::string& of) {
  const YamlNode* node = find_key(map, key);
  if (node == nullptr) fail_value(map, of, "a map with " + key);
  return *node;
}

Anchor read_anchor(const YamlNode& node) {
  const std::string key = "serving.anchor";
  require_map(node, key, {"model", "tp", "isl", "osl", "concurrency", "output_tok_s"});
  const auto whole = [&](const char* name, int lowest) {
    return static_cast<int>(read_integer(need(node, name, key), key + "." + name, lowest, 1 << 20));
  };
  Anchor anchor{.model = read_text(need(node, "model", key), key + ".model", "a model's name"),
                .tp = whole("tp", 1),
                .isl = whole("isl", 1),
                .osl = whole("osl", 2),
                .concurrency = whole("concurrency", 1)};
  const YamlNode& rate = need(node, "output_tok_s", key);
  const std::string expected = "a rate above 0";
  const auto value = parse_number(read_text(rate, key + ".output_tok_s", expected));
  if (!value || !(*value > 0 && *value < 1e9)) fail_value(rate, key + ".output_tok_s", expected);
  anchor.output_tok_s = *value;
  return anchor;
}

}  // namespace

ServingSpec read_serving(const YamlNode& node) {
  require_map(node, "serving",
              {"isl", "osl", "concurrency", "framework", "scales", "prompts", "tables", "anchor"});
  const auto lengths = [&](const std::string& key, int lowest, int highest) {
    const YamlNode* list = find_key(node, key);
    if (list == nullptr) fail_value(node, "serving", "isl, osl and concurrency");
    return read_integers(*list, "serving." + key, lowest, highest);
  };
  ServingSpec spec{.isl = lengths("isl", 1, 1 << 20),
                   .osl = lengths("osl", 2, 1 << 20),
                   .concurrency = lengths("concurrency", 1, 4096)};
  if (const YamlNode* n = find_key(node, "framework"))
    spec.framework = read_text(*n, "serving.framework", "a framework such as vllm-0.19-rocm");
  if (const YamlNode* n = find_key(node, "scales"))
    spec.scales = read_name<Scales>(*n, "serving.scales");
  if (const YamlNode* n = find_key(node, "prompts")) {
    const int most = *std::max_element(spec.concurrency.begin(), spec.concurrency.end());
    spec.prompts = static_cast<int>(read_integer(*n, "serving.prompts", most, 1 << 20));
  }
  if (const YamlNode* n = find_key(node, "tables"))
    for (const YamlNode& table : read_list(*n, "serving.tables"))
      spec.tables.push_back(read_text(table, "serving.tables", "a table of tuned kernels"));
  if (const YamlNode* n = find_key(node, "anchor"))
    for (const YamlNode& anchor : read_list(*n, "serving.anchor"))
      spec.anchors.push_back(read_anchor(anchor));
  return spec;
}

}  // namespace fse
