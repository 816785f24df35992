#include "core/strict_json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "core/error.h"

namespace fse {

using nlohmann::json;

std::string printable(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = '?';
  if (text.size() > 200) text = text.substr(0, 200) + "...";
  return text;
}

// The parser keeps the last of two equal names without a word, and builds as deep as it is told to:
// both are refused while parsing.
json parse_strict_json(std::string_view text, const std::string& where, int max_depth) {
  std::vector<std::set<std::string>> names;
  const auto on_event = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > max_depth)
      fail_data(fmt::format("{}: JSON nested deeper than {} levels", where, max_depth));
    if (event == json::parse_event_t::object_start) names.emplace_back();
    if (event == json::parse_event_t::object_end) names.pop_back();
    if (event == json::parse_event_t::key &&
        !names.back().insert(value.get_ref<const std::string&>()).second)
      fail_data(fmt::format("{}: '{}' is there twice, expected once", where,
                            printable(value.get<std::string>())));
    return true;
  };
  try {
    json parsed = json::parse(text.begin(), text.end(), on_event);
    if (!parsed.is_object()) fail_data(where + ": expected a JSON object");
    return parsed;
  } catch (const json::exception& error) {
    fail_data(fmt::format("{}: not JSON: {}", where, printable(error.what())));
  }
}

}  // namespace fse
