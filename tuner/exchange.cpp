#include "tuner/exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "core/strict_json.h"
#include "tuner/exchange_aiter.h"
#include "tuner/json_text.h"

namespace fse {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 32;

bool all_digits(const std::string& text) {
  return !text.empty() && text.size() <= 9 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// The text around the rows: what stands before each of them, and behind the last.
std::string gaps_of(std::string_view text, const std::vector<TextSpan>& rows) {
  Json gaps = Json::array();
  size_t at = 0;
  for (const TextSpan& row : rows) {
    gaps.push_back(std::string(text.substr(at, row.begin - at)));
    at = row.end;
  }
  gaps.push_back(std::string(text.substr(at)));
  return gaps.dump(-1, ' ', false, Json::error_handler_t::replace);
}

ForeignTable read_vllm(std::string_view text, const std::string& name) {
  ForeignTable table{.format = ExchangeFormat::vllm, .name = name};
  std::vector<TextSpan> rows;
  for (const auto& [key, span] : member_spans(text)) {
    const char first = text[span.begin];
    if (!all_digits(key)) {
      if (first == '{' || first == '[')
        fail_data(fmt::format("{}: key '{}', expected a batch size such as \"16\"", name,
                              printable(key)));
      continue;  // "triton_version"
    }
    if (first != '{')
      fail_data(fmt::format("{}: batch size {}: expected an object of settings", name, key));
    table.rows.push_back({.key = key, .fields = std::string(span.of(text))});
    rows.push_back(span);
  }
  table.header = gaps_of(text, rows);
  return table;
}

// The median time must be positive where a configuration is said to be correct.
void flag_result(ForeignRow& row, const Json& result) {
  const bool correct = result.value("invalidity", Json()) == "correct";
  const auto measurements = result.find("measurements");
  if (!correct || measurements == result.end() || !measurements->is_array()) return;
  for (const Json& m : *measurements) {
    const Json value = m.is_object() ? m.value("value", Json()) : Json();
    if (!value.is_number() || !(value.get<double>() > 0))
      row.flags.push_back(
          fmt::format("said to be correct, but measured {}", printable(value.dump())));
  }
}

// Where the array that a path of keys leads to begins; nothing where there is none.
std::optional<size_t> find_array(std::string_view text, std::initializer_list<const char*> path) {
  size_t at = 0;
  for (const char* key : path) {
    const auto members = member_spans(text, at);
    const auto found = std::find_if(members.begin(), members.end(),
                                    [&](const MemberSpan& m) { return m.key == key; });
    if (found == members.end()) return std::nullopt;
    at = found->value.begin;
  }
  return text[at] == '[' ? std::optional(at) : std::nullopt;
}

ForeignTable read_fair(std::string_view text, size_t at, ExchangeFormat format,
                       const std::string& name) {
  ForeignTable table{.format = format, .name = name};
  const bool results = format == ExchangeFormat::fair_results;
  const char* key = results ? "configuration" : "Name";
  const std::vector<TextSpan> rows = element_spans(text, at);
  for (const TextSpan& span : rows) {
    const Json row = Json::parse(span.of(text));
    if (!row.is_object() || !row.contains(key))
      fail_data(fmt::format("{}: row {}: expected an object with '{}'", name, table.rows.size() + 1,
                            key));
    table.rows.push_back({.key = row[key].dump(), .fields = std::string(span.of(text))});
    if (results) flag_result(table.rows.back(), row);
  }
  table.header = gaps_of(text, rows);
  return table;
}

ForeignTable read_json(std::string_view text, const std::string& name) {
  parse_strict_json(text, name, kMaxDepth);  // throws for what is no object or has a key twice
  if (const auto at = find_array(text, {"results"}))
    return read_fair(text, *at, ExchangeFormat::fair_results, name);
  if (const auto at = find_array(text, {"ConfigurationSpace", "TuningParameters"}))
    return read_fair(text, *at, ExchangeFormat::fair_space, name);
  ForeignTable table = read_vllm(text, name);
  if (table.rows.empty())
    fail_data(
        fmt::format("{}: no batch size, no FAIR results and no FAIR parameters; expected one "
                    "of {}",
                    name, all_names<ExchangeFormat>()));
  return table;
}

void find_duplicates(ForeignTable& table) {
  std::map<std::string, size_t> first;
  for (size_t i = 0; i < table.rows.size(); ++i) {
    const auto [it, added] = first.emplace(table.rows[i].key, i);
    if (!added)
      table.duplicates.push_back(
          fmt::format("row {} repeats row {}: {}", i + 1, it->second + 1, table.rows[i].key));
  }
}

std::string write_json(const ForeignTable& table) {
  const Json gaps = Json::parse(table.header);
  if (!gaps.is_array() || gaps.size() != table.rows.size() + 1)
    fail_data(table.name +
              ": its rows are not those of its file, expected it to be imported again");
  std::string text;
  for (size_t i = 0; i < table.rows.size(); ++i)
    text += gaps[i].get<std::string>() + table.rows[i].fields;
  return text + gaps.back().get<std::string>();
}

}  // namespace

ForeignTable read_foreign(std::string_view text, const std::string& name) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos)
    fail_data(fmt::format("{}: empty, expected one of {}", name, all_names<ExchangeFormat>()));
  ForeignTable table = text[begin] == '{' ? read_json(text, name) : read_aiter(text, name);
  find_duplicates(table);
  return table;
}

std::string write_foreign(const ForeignTable& table) {
  if (table.format == ExchangeFormat::aiter) return write_aiter(table);
  return write_json(table);
}

std::string sanitized_device_name(const std::string& name) {
  std::string safe;
  for (const char c : name.substr(0, 120)) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool plain = letter || (c >= '0' && c <= '9') || c == '-' || c == '+';
    const bool dot = c == '.' && !safe.empty() && safe.back() != '.';  // no ".." and no hidden file
    if (plain || dot)
      safe += c;
    else if (!safe.empty() && safe.back() != '_')
      safe += '_';
  }
  while (!safe.empty() && (safe.back() == '_' || safe.back() == '.')) safe.pop_back();
  return safe.empty() ? "unknown" : safe;
}

std::string vllm_file_name(int experts, int intermediate, const std::string& device_name,
                           const std::string& dtype, const std::string& block_shape) {
  return fmt::format("E={},N={},device_name={}{}{}.json", experts, intermediate,
                     sanitized_device_name(device_name), dtype.empty() ? "" : ",dtype=" + dtype,
                     block_shape.empty() ? "" : ",block_shape=" + block_shape);
}

}  // namespace fse
