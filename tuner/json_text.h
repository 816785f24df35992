#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace fse {

// Where the parts of a JSON text lie, so that they can be kept as they were written: a number that
// is read and printed again may end in another digit. The text must be JSON: parse it first.
struct TextSpan {
  size_t begin = 0, end = 0;
  std::string_view of(std::string_view text) const { return text.substr(begin, end - begin); }
};
struct MemberSpan {
  std::string key;
  TextSpan value;
};
// Of the object, or of the array, that begins at or behind `at`; nothing for any other value.
std::vector<MemberSpan> member_spans(std::string_view text, size_t at = 0);
std::vector<TextSpan> element_spans(std::string_view text, size_t at = 0);

}  // namespace fse
