#include "tuner/json_text.h"

#include <nlohmann/json.hpp>

namespace fse {
namespace {

size_t behind_blanks(std::string_view text, size_t at) {
  return std::min(text.find_first_not_of(" \t\r\n", at), text.size());
}

size_t behind_string(std::string_view text, size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at)
    if (text[at] == '\\') ++at;
  return std::min(at + 1, text.size());
}

size_t behind_value(std::string_view text, size_t at) {
  if (at >= text.size()) return text.size();
  if (text[at] == '"') return behind_string(text, at);
  if (text[at] != '{' && text[at] != '[')
    return std::min(text.find_first_of(",]} \t\r\n", at), text.size());
  int depth = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"') {
      at = behind_string(text, at);
      continue;
    }
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    ++at;
    if (depth == 0) break;
  }
  return at;
}

// Behind the comma, or at the closing bracket.
size_t next_item(std::string_view text, size_t at) {
  at = behind_blanks(text, at);
  return at < text.size() && text[at] == ',' ? behind_blanks(text, at + 1) : at;
}

}  // namespace

std::vector<MemberSpan> member_spans(std::string_view text, size_t at) {
  std::vector<MemberSpan> members;
  at = behind_blanks(text, at);
  if (at >= text.size() || text[at] != '{') return members;
  at = behind_blanks(text, at + 1);
  while (at < text.size() && text[at] == '"') {
    const size_t key_end = behind_string(text, at);
    const auto key = nlohmann::json::parse(text.substr(at, key_end - at)).get<std::string>();
    const size_t value = behind_blanks(text, behind_blanks(text, key_end) + 1);  // and the colon
    members.push_back({key, {value, behind_value(text, value)}});
    at = next_item(text, members.back().value.end);
  }
  return members;
}

std::vector<TextSpan> element_spans(std::string_view text, size_t at) {
  std::vector<TextSpan> elements;
  at = behind_blanks(text, at);
  if (at >= text.size() || text[at] != '[') return elements;
  at = behind_blanks(text, at + 1);
  while (at < text.size() && text[at] != ']') {
    elements.push_back({at, behind_value(text, at)});
    at = next_item(text, elements.back().end);
  }
  return elements;
}

}  // namespace fse
