#include "experiments/yaml_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "core/nearest.h"
#include "core/strict_json.h"

namespace fse {
namespace {

constexpr int64_t kMaxRange = 10000;  // values of one range: more would be a mistake

std::string describe(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::null:
      return "empty";
    case YamlNode::Kind::list:
      return node.items.empty() ? "an empty list" : "a list";
    case YamlNode::Kind::map:
      return node.entries.empty() ? "an empty map" : "a map";
    case YamlNode::Kind::scalar:
      break;
  }
  const std::string quote = node.quoted ? "\"" : "'";
  return (node.quoted ? "the text " : "") + quote + printable(node.text) + quote;
}

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\n");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\n") - begin + 1);
}

int64_t depth_after(const std::string& text) {
  return std::count(text.begin(), text.end(), '(') - std::count(text.begin(), text.end(), ')');
}

bool is_plain(const YamlNode& node) {
  return node.kind == YamlNode::Kind::scalar && !node.quoted;
}

std::optional<std::vector<int64_t>> integer_arguments(const Call& call) {
  std::vector<int64_t> numbers;
  for (const std::string& argument : call.arguments) {
    const std::optional<int64_t> number = parse_integer(argument);
    if (!number) return std::nullopt;
    numbers.push_back(*number);
  }
  return numbers;
}

bool is_power_of_two(int64_t n) {
  return n > 0 && (n & (n - 1)) == 0;
}

// The values of pow2(first, last) or range(first, last, step); nothing where it is neither.
std::optional<std::vector<int64_t>> call_values(const Call& call) {
  const std::optional<std::vector<int64_t>> arguments = integer_arguments(call);
  if (!arguments) return std::nullopt;
  const std::vector<int64_t>& a = *arguments;
  std::vector<int64_t> values;
  if (call.name == "pow2" && a.size() == 2 && a[0] <= a[1] && is_power_of_two(a[0]) &&
      is_power_of_two(a[1]) && a[1] <= INT32_MAX) {
    for (int64_t n = a[0]; n <= a[1]; n *= 2) values.push_back(n);
    return values;
  }
  const bool range = call.name == "range" && a.size() == 3 && a[0] >= 0 && a[0] <= a[1] &&
                     a[1] <= INT32_MAX && a[2] > 0 && (a[1] - a[0]) / a[2] < kMaxRange;
  if (!range) return std::nullopt;
  for (int64_t n = a[0]; n <= a[1]; n += a[2]) values.push_back(n);
  return values;
}

}  // namespace

void fail_value(const YamlNode& node, const std::string& key, const std::string& expected) {
  fail_usage(fmt::format("{}: {} is {}, expected {}", node.where, key, describe(node), expected));
}

void require_map(const YamlNode& node, const std::string& key,
                 const std::vector<std::string>& allowed) {
  const std::string expected = fmt::format("a map with keys from {}", fmt::join(allowed, ", "));
  if (node.kind != YamlNode::Kind::map || node.entries.empty()) fail_value(node, key, expected);
  for (const YamlEntry& entry : node.entries)
    if (std::find(allowed.begin(), allowed.end(), entry.key) == allowed.end())
      fail_usage(fmt::format("{}: unknown key '{}' in {}, expected one of {}{}", entry.where,
                             printable(entry.key), key, fmt::join(allowed, ", "),
                             did_you_mean(entry.key, allowed)));
}

std::vector<YamlNode> read_list(const YamlNode& node, const std::string& key) {
  if (node.kind != YamlNode::Kind::list) {
    if (node.kind == YamlNode::Kind::null) fail_value(node, key, "a value or a list of values");
    return {node};
  }
  if (node.items.empty()) fail_value(node, key, "at least one value");
  std::vector<YamlNode> joined;
  for (const YamlNode& item : node.items) {
    const bool open = !joined.empty() && is_plain(joined.back()) && is_plain(item) &&
                      depth_after(joined.back().text) > 0;
    if (open) {
      joined.back().text += ", " + item.text;
    } else {
      joined.push_back(item);
    }
  }
  return joined;
}

std::optional<Call> parse_call(const std::string& text) {
  const size_t open = text.find('(');
  if (open == std::string::npos || open == 0 || text.back() != ')') return std::nullopt;
  Call call{.name = trimmed(text.substr(0, open)), .arguments = {}};
  const std::string inside = text.substr(open + 1, text.size() - open - 2);
  for (size_t begin = 0; begin <= inside.size();) {
    const size_t comma = std::min(inside.find(',', begin), inside.size());
    call.arguments.push_back(trimmed(inside.substr(begin, comma - begin)));
    begin = comma + 1;
  }
  return call;
}

std::string read_text(const YamlNode& node, const std::string& key, const std::string& expected) {
  if (node.kind != YamlNode::Kind::scalar || node.text.empty()) fail_value(node, key, expected);
  return node.text;
}

std::optional<int64_t> parse_integer(const std::string& text) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  const size_t digits = text.find_first_not_of('-');
  // A leading zero means octal to some YAML readers and nothing to others.
  const bool octal = text.size() > 1 && digits != std::string::npos && text[digits] == '0';
  if (error != std::errc{} || stop != end || octal) return std::nullopt;
  return value;
}

std::optional<double> parse_number(const std::string& text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

int64_t read_integer(const YamlNode& node, const std::string& key, int64_t lowest,
                     int64_t highest) {
  const std::optional<int64_t> value = is_plain(node) ? parse_integer(node.text) : std::nullopt;
  if (!value || *value < lowest || *value > highest)
    fail_value(node, key, fmt::format("a whole number from {} to {}", lowest, highest));
  return *value;
}

std::vector<int> read_integers(const YamlNode& node, const std::string& key, int lowest,
                               int highest) {
  std::vector<int> values;
  const auto add = [&](int64_t value) {
    const int narrow = static_cast<int>(value);
    if (std::find(values.begin(), values.end(), narrow) == values.end()) values.push_back(narrow);
  };
  for (const YamlNode& item : read_list(node, key)) {
    const bool scalar = item.kind == YamlNode::Kind::scalar;
    const std::optional<Call> call = scalar ? parse_call(item.text) : std::nullopt;
    const auto in_range = [&](int64_t n) { return n >= lowest && n <= highest; };
    const std::string bounds = fmt::format("from {} to {}", lowest, highest);
    if (!call) {
      const bool number = is_plain(item) && parse_integer(item.text).has_value();
      if (!number)
        fail_value(item, key,
                   "whole numbers, pow2(first, last) or range(first, last, step), " + bounds);
      add(read_integer(item, key, lowest, highest));
      continue;
    }
    const std::optional<std::vector<int64_t>> expanded = call_values(*call);
    if (!expanded || !std::all_of(expanded->begin(), expanded->end(), in_range))
      fail_value(item, key,
                 "pow2(first, last) of powers of two or range(first, last, step), first <= last, " +
                     bounds);
    for (const int64_t value : *expanded) add(value);
  }
  return values;
}

std::string read_choice(const YamlNode& node, const std::string& key,
                        const std::vector<std::string>& choices) {
  const std::string expected = fmt::format("one of {}", fmt::join(choices, ", "));
  if (node.kind != YamlNode::Kind::scalar) fail_value(node, key, expected);
  if (std::find(choices.begin(), choices.end(), node.text) != choices.end()) return node.text;
  fail_value(node, key, expected + did_you_mean(node.text, choices));
}

}  // namespace fse
