#include "core/config_json.h"

#include <fmt/format.h>

#include <cmath>
#include <fstream>

#include "core/error.h"
#include "core/strict_json.h"

namespace fse {
namespace {

using nlohmann::json;

constexpr size_t kLargestFile = 64 << 20;  // the largest published config.json is under 1 MiB
constexpr int kDeepest = 64;

std::string read_text(const std::filesystem::path& file) {
  std::error_code ignored;
  if (std::filesystem::is_directory(file, ignored))
    fail_usage(file.string() + ": is a folder, expected a config.json file");
  std::ifstream stream(file, std::ios::binary);
  if (!stream)
    fail_usage(file.string() +
               (std::filesystem::exists(file, ignored) ? ": cannot be read" : ": no such file"));
  std::string text;
  std::array<char, 65536> block;
  while (text.size() <= kLargestFile &&
         (stream.read(block.data(), block.size()) || stream.gcount()))
    text.append(block.data(), static_cast<size_t>(stream.gcount()));
  if (text.size() > kLargestFile)
    fail_usage(file.string() + ": is larger than 64 MiB, expected a config.json file");
  return text;
}

// Outside strings only: NaN -> "NaN", Infinity -> "Infinity", -Infinity -> "-Infinity".
std::string quote_non_finite(const std::string& text) {
  std::string result;
  result.reserve(text.size());
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (in_string && text[i] == '\\' && i + 1 < text.size()) {
      result.append(text, i++, 2);
      continue;
    }
    if (text[i] == '"') in_string = !in_string;
    std::string_view found;
    if (!in_string)
      for (std::string_view word : {"NaN", "Infinity", "-Infinity"})
        if (text.compare(i, word.size(), word) == 0) found = word;
    if (found.empty()) {
      result += text[i];
      continue;
    }
    result += '"' + std::string(found) + '"';
    i += found.size() - 1;
  }
  return result;
}

}  // namespace

ConfigObject read_config_json(const std::filesystem::path& file) {
  const std::string text = quote_non_finite(read_text(file));
  try {
    return {file.string(), "", parse_strict_json(text, file.string(), kDeepest)};
  } catch (const Error& error) {
    fail_usage(error.what());  // the user chose this file: not a damaged one of ours
  }
}

std::string shown(const json& value) {
  constexpr size_t kLongest = 60;
  std::string text = value.dump(-1, ' ', true);  // ASCII: any byte of it may be cut
  if (text.size() > kLongest) text = text.substr(0, kLongest - 3) + "...";
  return text;
}

void fail_value(const ConfigObject& config, std::string_view key, const json& value,
                std::string_view expected) {
  fail_usage(fmt::format("{}: {}{} is {}, expected {}", config.file, config.prefix, key,
                         shown(value), expected));
}

void fail_missing(const ConfigObject& config, Keys keys, std::string_view expected) {
  std::string also;
  for (std::string_view key : keys.subspan(1))
    also += fmt::format("{}{}", also.empty() ? " (also spelled " : ", ", key);
  fail_usage(fmt::format("{}: {}{} is missing, expected {}{}{}", config.file, config.prefix,
                         keys.front(), expected, also, also.empty() ? "" : ")"));
}

void refuse(const ConfigObject& config, std::string_view key, std::string_view reason) {
  throw Refused(fmt::format("{}: {}{}: {}", config.file, config.prefix, key, reason));
}

std::optional<Stated> find_stated(const ConfigObject& config, Keys keys) {
  std::optional<Stated> first;
  for (std::string_view key : keys) {
    const auto found = config.json.find(key);
    if (found == config.json.end() || found->is_null()) continue;
    if (first && *first->value != *found)
      fail_usage(fmt::format("{}: {}{} is {}, but {} is {}: expected the same", config.file,
                             config.prefix, first->key, shown(*first->value), key, shown(*found)));
    if (!first) first = Stated{key, &*found};
  }
  return first;
}

int checked_int(const ConfigObject& config, std::string_view key, const json& value, int lowest,
                int highest) {
  const std::string expected = fmt::format("an integer from {} to {}", lowest, highest);
  if (!value.is_number_integer()) fail_value(config, key, value, expected);
  // Unsigned values may exceed int64_t, where get<int64_t>() would wrap.
  const bool too_large = value.is_number_unsigned() && value.get<uint64_t>() > INT32_MAX;
  if (too_large || value.get<int64_t>() < lowest || value.get<int64_t>() > highest)
    fail_value(config, key, value, expected);
  return static_cast<int>(value.get<int64_t>());
}

std::optional<int> find_int(const ConfigObject& config, Keys keys, int lowest, int highest) {
  const auto stated = find_stated(config, keys);
  if (!stated) return std::nullopt;
  return checked_int(config, stated->key, *stated->value, lowest, highest);
}

int require_int(const ConfigObject& config, Keys keys, int lowest, int highest) {
  const auto value = find_int(config, keys, lowest, highest);
  if (!value) fail_missing(config, keys, fmt::format("an integer from {} to {}", lowest, highest));
  return *value;
}

std::optional<double> find_positive(const ConfigObject& config, Keys keys) {
  const auto stated = find_stated(config, keys);
  if (!stated) return std::nullopt;
  const bool holds = stated->value->is_number() && stated->value->get<double>() > 0 &&
                     std::isfinite(stated->value->get<double>());
  if (!holds) fail_value(config, stated->key, *stated->value, "a number above 0");
  return stated->value->get<double>();
}

std::optional<bool> find_bool(const ConfigObject& config, Keys keys) {
  const auto stated = find_stated(config, keys);
  if (!stated) return std::nullopt;
  if (!stated->value->is_boolean())
    fail_value(config, stated->key, *stated->value, "true or false");
  return stated->value->get<bool>();
}

std::optional<std::string> find_string(const ConfigObject& config, Keys keys) {
  const auto stated = find_stated(config, keys);
  if (!stated) return std::nullopt;
  if (!stated->value->is_string()) fail_value(config, stated->key, *stated->value, "a string");
  return stated->value->get<std::string>();
}

}  // namespace fse
