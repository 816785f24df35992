#pragma once
#include <optional>
#include <string>

namespace fse {

struct BadByte {
  int line = 0, column = 0;  // both from 0; the column counts bytes
  std::string what;
};

// The first byte that is not UTF-8 (overlong forms and surrogates included), or a control character
// that no text file holds. yaml-cpp would replace or misread both in silence.
std::optional<BadByte> find_bad_utf8(const std::string& text);

}  // namespace fse
