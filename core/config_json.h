#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace fse {

// One object of a config.json, with what its error messages need: "FILE: PREFIXkey is VALUE,
// expected ...". The prefix names a nested object ("text_config.").
struct ConfigObject {
  std::string file;
  std::string prefix;
  nlohmann::json json;
};

// Throws Error(usage) for a file that cannot be read or is no JSON object. Python writes NaN and
// Infinity into JSON; they arrive here as strings, so that only who reads such a key minds.
ConfigObject read_config_json(const std::filesystem::path& file);

// The spellings of one fact. `null` means absent everywhere.
using Keys = std::span<const std::string_view>;

struct Stated {
  std::string_view key;
  const nlohmann::json* value;
};

// The first of `keys` that is present. Two that are present and disagree are an error naming both.
std::optional<Stated> find_stated(const ConfigObject&, Keys keys);

// The value of the first present spelling, checked; nullopt when all are absent.
std::optional<int> find_int(const ConfigObject&, Keys keys, int lowest, int highest);
std::optional<double> find_positive(const ConfigObject&, Keys keys);
std::optional<bool> find_bool(const ConfigObject&, Keys keys);
std::optional<std::string> find_string(const ConfigObject&, Keys keys);
int require_int(const ConfigObject&, Keys keys, int lowest, int highest);

// `value`, the value of `key` or an entry of it, as an int in [lowest, highest].
int checked_int(const ConfigObject&, std::string_view key, const nlohmann::json& value, int lowest,
                int highest);

// JSON on one line, shortened to what an error message can carry.
std::string shown(const nlohmann::json& value);
[[noreturn]] void fail_value(const ConfigObject&, std::string_view key, const nlohmann::json& value,
                             std::string_view expected);
[[noreturn]] void fail_missing(const ConfigObject&, Keys keys, std::string_view expected);
[[noreturn]] void refuse(const ConfigObject&, std::string_view key, std::string_view reason);

}  // namespace fse
