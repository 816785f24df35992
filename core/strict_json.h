#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace fse {

// An object from a file that is not trusted. Throws Error(data) "WHERE: ..." for text that is not
// JSON, not an object, names a key twice, or nests deeper than `max_depth`.
nlohmann::json parse_strict_json(std::string_view text, const std::string& where, int max_depth);

// Names that come from a file, made fit for a message: control characters replaced, 200 bytes.
std::string printable(std::string text);

}  // namespace fse
