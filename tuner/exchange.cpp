#include "tuner/exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/strict_json.h"
#include "tuner/exchange_aiter.h"

namespace fse {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 32;

// Where a FAIR document holds its rows.
Json::json_pointer rows_of(ExchangeFormat format) {
  return Json::json_pointer(
      format == ExchangeFormat::fair_results ? "/results" : "/ConfigurationSpace/TuningParameters");
}

bool all_digits(const std::string& text) {
  return !text.empty() && text.size() <= 9 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

ForeignTable read_vllm(Json document, const std::string& name) {
  ForeignTable table{.format = ExchangeFormat::vllm, .name = name};
  Json header = Json::object();
  for (auto& [key, value] : document.items()) {
    if (!all_digits(key)) {
      if (value.is_structured())
        fail_data(fmt::format("{}: key '{}', expected a batch size such as \"16\"", name,
                              printable(key)));
      header[key] = value;  // "triton_version"
      continue;
    }
    if (!value.is_object())
      fail_data(fmt::format("{}: batch size {}: expected an object of settings", name, key));
    table.rows.push_back({.key = key, .fields = value.dump()});
  }
  table.header = header.dump();
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

ForeignTable read_fair(Json document, ExchangeFormat format, const std::string& name) {
  ForeignTable table{.format = format, .name = name};
  Json& rows = document.at(rows_of(format));
  const bool results = format == ExchangeFormat::fair_results;
  const char* key = results ? "configuration" : "Name";
  for (const Json& row : rows) {
    if (!row.is_object() || !row.contains(key))
      fail_data(fmt::format("{}: row {}: expected an object with '{}'", name, table.rows.size() + 1,
                            key));
    table.rows.push_back({.key = row[key].dump(), .fields = row.dump()});
    if (results) flag_result(table.rows.back(), row);
  }
  rows = Json::array();
  table.header = document.dump();
  return table;
}

ForeignTable read_json(std::string_view text, const std::string& name) {
  parse_strict_json(text, name, kMaxDepth);  // throws for what is no object or has a key twice
  Json document = Json::parse(text);
  for (const ExchangeFormat format : {ExchangeFormat::fair_results, ExchangeFormat::fair_space}) {
    const auto at = rows_of(format);
    if (document.contains(at) && document.at(at).is_array())
      return read_fair(std::move(document), format, name);
  }
  ForeignTable table = read_vllm(std::move(document), name);
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

std::string write_vllm(const ForeignTable& table) {
  Json document = Json::parse(table.header);
  for (const ForeignRow& row : table.rows) document[row.key] = Json::parse(row.fields);
  return document.dump(4) + "\n";
}

std::string write_fair(const ForeignTable& table) {
  Json document = Json::parse(table.header);
  Json& rows = document.at(rows_of(table.format));
  for (const ForeignRow& row : table.rows) rows.push_back(Json::parse(row.fields));
  return document.dump(2) + "\n";
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
  return table.format == ExchangeFormat::vllm ? write_vllm(table) : write_fair(table);
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
