#include "reports/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace fse {

namespace {

// Bytes of the UTF-8 sequence that begins here, 0 where none does.
size_t sequence_length(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const size_t length = lead < 0x80         ? 1
                        : lead >> 5 == 0x6  ? 2
                        : lead >> 4 == 0xe  ? 3
                        : lead >> 3 == 0x1e ? 4
                                            : 0;
  if (length == 0 || length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i)
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return 0;
  return length;
}

size_t width(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string escaped(char c) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '|':
    case '\\':
    case '`':
    case '*':
    case '~':
    case '$':
      return std::string("\\") + c;
    default:
      return std::string(1, static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c);
  }
}

std::string padded(const std::string& cell, size_t to, bool left) {
  const std::string space(to - std::min(to, width(cell)), ' ');
  return left ? cell + space : space + cell;
}

}  // namespace

std::string escape_markdown(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t length = sequence_length(text);
    if (text[0] == '(' && out.ends_with(']')) out += '\\';  // no link
    out += length == 0 ? "?" : length == 1 ? escaped(text[0]) : std::string(text.substr(0, length));
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return out;
}

std::string code_block(const std::string& text, const std::string& language) {
  size_t longest = 2, run = 0;
  for (const char c : text) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  const std::string fence(longest + 1, '`');
  return fmt::format("{}{}\n{}{}{}\n", fence, language, text,
                     text.empty() || text.back() == '\n' ? "" : "\n", fence);
}

std::string to_markdown(const Table& table) {
  std::vector<bool> left;
  std::vector<std::string> titles;
  std::vector<size_t> widths;
  for (const std::string& title : table.titles) {
    left.push_back(title.starts_with('<'));
    titles.push_back(title.substr(left.back() ? 1 : 0));
    widths.push_back(std::max<size_t>(3, width(titles.back())));
  }
  for (const auto& row : table.rows)
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], width(row[c]));
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string out = "|";
    for (size_t c = 0; c < cells.size(); ++c)
      out += " " + padded(cells[c], widths[c], left[c]) + " |";
    return out + "\n";
  };
  std::string out = line(titles) + "|";
  for (size_t c = 0; c < widths.size(); ++c)
    out += left[c] ? ":" + std::string(widths[c] + 1, '-') + "|"
                   : std::string(widths[c] + 1, '-') + ":|";
  out += "\n";
  for (const auto& row : table.rows) out += line(row);
  return out;
}

int decimals_for(double largest) {
  return !(largest < 1000) ? 0 : largest >= 100 ? 1 : largest >= 10 ? 2 : 3;
}

std::string number(double value, int decimals) {
  if (std::isnan(value)) return "-";
  const std::string text = fmt::format("{:.{}f}", value, decimals);
  return text.find_first_not_of("-0.") == std::string::npos && text[0] == '-' ? text.substr(1)
                                                                              : text;
}

std::string signed_number(double value, int decimals) {
  const std::string text = number(value, decimals);
  const bool positive = value > 0 && text.find_first_not_of("0.") != std::string::npos;
  return positive ? "+" + text : text;
}

std::string interval(const Summary& s, int decimals) {
  if (s.n == 0) return "-";
  if (std::isnan(s.lo)) return "n too small (need 6)";
  return fmt::format("[{}, {}]", number(s.lo, decimals), number(s.hi, decimals));
}

std::string error_text(double value) {
  return std::isfinite(value) ? fmt::format("{:.1e}", value) : "not finite";
}

}  // namespace fse
