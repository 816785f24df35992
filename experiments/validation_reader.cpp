#include "experiments/validation_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/read_file.h"
#include "experiments/yaml_reader.h"

namespace fse {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 5> kMetrics = {"mape", "gain_mean", "gain_worst", "sign",
                                                      "coverage"};

YamlNode yaml_of(const fs::path& file) {
  const std::optional<std::string> text = read_file(file);
  if (!text) fail_usage(fmt::format("{}: cannot be read", file.string()));
  return parse_yaml(*text, file.string());
}

const YamlNode& need(const YamlNode& map, const std::string& key) {
  const YamlNode* node = find_key(map, key);
  if (node == nullptr) fail_usage(fmt::format("{}: no '{}'", map.where, key));
  return *node;
}

std::string text_of(const YamlNode& map, const std::string& key) {
  return read_text(need(map, key), key, "a text");
}

double positive(const YamlNode& map, const std::string& key) {
  const YamlNode& node = need(map, key);
  const std::optional<double> value = parse_number(read_text(node, key, "a number above 0"));
  if (!value || !(*value > 0)) fail_value(node, key, "a number above 0");
  return *value;
}

Variant read_variant(const YamlNode& map, const std::string& key) {
  const YamlNode& node = need(map, key);
  require_map(node, key, {"gate", "topk", "shared"});
  return {.gate = read_name<Gate>(need(node, "gate"), "gate"),
          .topk = read_name<Topk>(need(node, "topk"), "topk"),
          .shared = read_name<Shared>(need(node, "shared"), "shared"),
          .experts = Experts::staged,
          .launch = Launch::graph};
}

ServingRow read_row(const YamlNode& node) {
  require_map(node, "rows",
              {"tp", "isl", "osl", "concurrency", "prompts", "output_tok_s", "tpot_mean_ms"});
  const auto whole = [&](const char* key) {
    return static_cast<int>(read_integer(need(node, key), key, 1, 1 << 20));
  };
  ServingRow row{.tp = whole("tp"),
                 .isl = whole("isl"),
                 .osl = whole("osl"),
                 .concurrency = whole("concurrency")};
  if (find_key(node, "prompts") != nullptr) row.prompts = whole("prompts");
  if (row.prompts > 0 && row.prompts < row.concurrency)
    fail_value(*find_key(node, "prompts"), "prompts", "at least the concurrency");
  const YamlNode& output = need(node, "output_tok_s");
  require_map(output, "output_tok_s", {"off", "on"});
  row.output_off = positive(output, "off");
  row.output_on = positive(output, "on");
  if (const YamlNode* tpot = find_key(node, "tpot_mean_ms")) {
    require_map(*tpot, "tpot_mean_ms", {"off", "on"});
    row.tpot_off = positive(*tpot, "off");
    row.tpot_on = positive(*tpot, "on");
  }
  return row;
}

ServingStudy read_study(const YamlNode& node) {
  require_map(node, "studies",
              {"name", "source", "date", "model", "dtype", "scales", "tables", "device",
               "framework", "off", "on", "rows"});
  ServingStudy study{.name = text_of(node, "name"),
                     .source = text_of(node, "source"),
                     .model = text_of(node, "model"),
                     .device = text_of(node, "device"),
                     .framework = text_of(node, "framework"),
                     .dtype = read_name<DType>(need(node, "dtype"), "dtype"),
                     .scales = Scales::block128,
                     .tables = {},
                     .off = read_variant(node, "off"),
                     .on = read_variant(node, "on"),
                     .rows = {}};
  text_of(node, "date");
  if (const YamlNode* scales = find_key(node, "scales"))
    study.scales = read_name<Scales>(*scales, "scales");
  if (const YamlNode* tables = find_key(node, "tables"))
    for (const YamlNode& table : read_list(*tables, "tables"))
      study.tables.push_back(read_text(table, "tables", "a file beside serving.yaml"));
  for (const YamlNode& row : read_list(need(node, "rows"), "rows"))
    study.rows.push_back(read_row(row));
  return study;
}

void read_layer_row(const YamlNode& node, LayerStudy& study) {
  require_map(node, "rows", {"dtype", "gate", "topk", "shared", "experts", "us"});
  const Variant variant{.gate = read_name<Gate>(need(node, "gate"), "gate"),
                        .topk = read_name<Topk>(need(node, "topk"), "topk"),
                        .shared = read_name<Shared>(need(node, "shared"), "shared"),
                        .experts = read_name<Experts>(need(node, "experts"), "experts"),
                        .launch = Launch::graph};
  const YamlNode& times = need(node, "us");
  if (times.kind != YamlNode::Kind::map) fail_value(times, "us", "a map of tokens to times");
  for (const YamlEntry& entry : times.entries) {
    const std::optional<int64_t> tokens = parse_integer(entry.key);
    if (!tokens || *tokens < 1 || *tokens > 1 << 20)
      fail_usage(fmt::format("{}: us has '{}', expected a token count", entry.where, entry.key));
    study.rows.push_back({.dtype = read_name<DType>(need(node, "dtype"), "dtype"),
                          .variant = variant,
                          .tokens = static_cast<int>(*tokens),
                          .us = positive(times, entry.key)});
  }
}

LayerStudy read_layer_study(const YamlNode& node) {
  require_map(node, "studies", {"name", "source", "date", "model", "tp", "device", "rows"});
  text_of(node, "source");
  text_of(node, "date");
  LayerStudy study{.name = text_of(node, "name"),
                   .model = text_of(node, "model"),
                   .device = text_of(node, "device"),
                   .tp = static_cast<int>(read_integer(need(node, "tp"), "tp", 1, 1024)),
                   .rows = {}};
  for (const YamlNode& row : read_list(need(node, "rows"), "rows")) read_layer_row(row, study);
  return study;
}

std::map<std::string, double> read_metrics(const YamlNode& map, const std::string& key) {
  std::map<std::string, double> metrics;
  const YamlNode* node = find_key(map, key);
  if (node == nullptr) return metrics;
  require_map(*node, key, {kMetrics.begin(), kMetrics.end()});
  for (const YamlEntry& entry : node->entries) metrics[entry.key] = positive(*node, entry.key);
  return metrics;
}

Split read_split(const YamlNode& node) {
  require_map(
      node, "splits",
      {"name", "use", "table", "device", "study", "layers", "where", "goal", "limit", "note"});
  Split split{.name = text_of(node, "name"),
              .use = read_choice(need(node, "use"), "use", {"fit", "test"}),
              .goal = read_metrics(node, "goal"),
              .limit = read_metrics(node, "limit"),
              .note = find_key(node, "note") != nullptr ? text_of(node, "note") : ""};
  if (find_key(node, "study") != nullptr) {
    split.study = text_of(node, "study");
  } else if (find_key(node, "layers") != nullptr) {
    split.layers = text_of(node, "layers");
  } else {
    split.table = text_of(node, "table");
    split.device = text_of(node, "device");
  }
  const YamlNode* where = find_key(node, "where");
  if (where == nullptr) return split;
  if (where->kind != YamlNode::Kind::map) fail_value(*where, "where", "a map of columns");
  for (const YamlEntry& entry : where->entries)
    split.where[entry.key] = read_text(entry.value, entry.key, "a value");
  return split;
}

MovedRow read_moved(const YamlNode& node) {
  require_map(node, "moved", {"split", "rows", "date", "reason"});
  return {text_of(node, "split"), text_of(node, "rows"), text_of(node, "date"),
          text_of(node, "reason")};
}

// A split that names a study names one that is there.
template <class Study>
void require_study(const YamlNode& node, const std::string& name, const std::vector<Study>& studies,
                   const char* key, const char* file) {
  const auto same = [&](const Study& study) { return study.name == name; };
  if (!name.empty() && std::none_of(studies.begin(), studies.end(), same))
    fail_usage(fmt::format("{}: {} is '{}', expected one of {}", node.where, key, name, file));
}

}  // namespace

bool at_most(const std::string& metric) {
  return metric != "sign" && metric != "coverage";
}

ValidationSpec read_validation(const fs::path& folder) {
  ValidationSpec spec;
  const YamlNode studies = yaml_of(folder / "serving.yaml");
  require_map(studies, "serving.yaml", {"studies"});
  for (const YamlNode& node : read_list(need(studies, "studies"), "studies"))
    spec.studies.push_back(read_study(node));
  const YamlNode layers = yaml_of(folder / "layers.yaml");
  require_map(layers, "layers.yaml", {"studies"});
  for (const YamlNode& node : read_list(need(layers, "studies"), "studies"))
    spec.layers.push_back(read_layer_study(node));
  const YamlNode splits = yaml_of(folder / "splits.yaml");
  require_map(splits, "splits.yaml", {"frozen", "splits", "moved"});
  spec.frozen = text_of(splits, "frozen");
  for (const YamlNode& node : read_list(need(splits, "splits"), "splits")) {
    spec.splits.push_back(read_split(node));
    const Split& split = spec.splits.back();
    require_study(node, split.study, spec.studies, "study", "serving.yaml");
    require_study(node, split.layers, spec.layers, "layers", "layers.yaml");
  }
  if (const YamlNode* moved = find_key(splits, "moved"))
    for (const YamlNode& node : read_list(*moved, "moved")) spec.moved.push_back(read_moved(node));
  return spec;
}

}  // namespace fse
