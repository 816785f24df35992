#include "experiments/overrides.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/strict_json.h"

namespace fse {
namespace {

constexpr size_t kMaxSegments = 3;  // tiles.grouped_stage1.warps

[[noreturn]] void fail(const std::string& text, const std::string& what) {
  fail_usage(fmt::format("override '{}': {}", printable(text), what));
}

std::vector<std::string> split_key(const std::string& key) {
  std::vector<std::string> segments;
  for (size_t begin = 0; begin <= key.size();) {
    const size_t dot = std::min(key.find('.', begin), key.size());
    segments.push_back(key.substr(begin, dot - begin));
    begin = dot + 1;
  }
  return segments;
}

// The names of kernels hold dots (tiles.cpu.topk.fused.rows=[4]): below `tiles`, what stands before
// the last dot is the name, and where the value is a map of axes all of it is.
std::vector<std::string> split_tiles_key(const std::string& key, const YamlNode& value) {
  const size_t first = key.find('.');
  if (first == std::string::npos) return {key};
  const std::string rest = key.substr(first + 1);
  const size_t last = rest.rfind('.');
  if (value.kind == YamlNode::Kind::map || last == std::string::npos)
    return {key.substr(0, first), rest};
  return {key.substr(0, first), rest.substr(0, last), rest.substr(last + 1)};
}

YamlNode& child(YamlNode& map, const std::string& key, const std::string& where) {
  for (YamlEntry& entry : map.entries)
    if (entry.key == key) return entry.value;
  map.entries.push_back({.key = key, .where = where, .value = {}});
  YamlNode& added = map.entries.back().value;
  added.where = where;
  return added;
}

void set_value(YamlNode& root, const std::vector<std::string>& path, YamlNode value,
               const std::string& text) {
  YamlNode* node = &root;
  for (const std::string& segment : path) {
    if (node->kind == YamlNode::Kind::null) node->kind = YamlNode::Kind::map;
    if (node->kind != YamlNode::Kind::map)
      fail(text, fmt::format("what stands at {} is no map, expected one to set '{}' in it",
                             node->where, segment));
    node = &child(*node, segment, value.where);
  }
  *node = std::move(value);
}

}  // namespace

void apply_overrides(YamlNode& sweep, const std::vector<std::string>& overrides) {
  std::set<std::string> seen;
  for (const std::string& text : overrides) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) fail(text, "expected KEY=VALUE");
    const std::string key = text.substr(0, equals);
    if (!seen.insert(key).second) fail(text, fmt::format("'{}' is set twice, expected once", key));
    YamlNode value = parse_override_value(text.substr(equals + 1), text);
    const std::vector<std::string> path =
        key.starts_with("tiles.") ? split_tiles_key(key, value) : split_key(key);
    const bool empty = std::find(path.begin(), path.end(), "") != path.end();
    if (empty || path.size() > kMaxSegments)
      fail(text, fmt::format("'{}' is no key, expected a dotted name such as tune.budget",
                             printable(key)));
    set_value(sweep, path, std::move(value), text);
  }
}

}  // namespace fse
