#include "experiments/utf8.h"

#include <fmt/format.h>

#include <cstdint>

namespace fse {
namespace {

// Length of the code point that begins at `i`, 0 where the bytes are none.
size_t code_point_length(const std::string& text, size_t i) {
  const auto byte = [&](size_t k) { return static_cast<uint8_t>(text[k]); };
  const uint8_t first = byte(i);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  if (length == 0 || first > 0xf4 || i + length > text.size()) return 0;
  for (size_t k = 1; k < length; ++k)
    if ((byte(i + k) & 0xc0) != 0x80) return 0;
  const uint8_t second = byte(i + 1);
  const bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool surrogate = first == 0xed && second >= 0xa0;
  const bool beyond = first == 0xf4 && second >= 0x90;
  return overlong || surrogate || beyond ? 0 : length;
}

bool is_control(uint8_t byte) {
  return (byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7f;
}

}  // namespace

std::optional<BadByte> find_bad_utf8(const std::string& text) {
  int line = 0;
  size_t line_begin = 0;
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<uint8_t>(text[i]);
    const size_t length = code_point_length(text, i);
    const auto column = static_cast<int>(i - line_begin);
    if (length == 0)
      return BadByte{line, column, fmt::format("byte 0x{:02x} is not UTF-8, expected text", byte)};
    if (is_control(byte))
      return BadByte{line, column, fmt::format("control character 0x{:02x}, expected text", byte)};
    i += length;
    if (byte != '\n') continue;
    ++line;
    line_begin = i;
  }
  return std::nullopt;
}

}  // namespace fse
