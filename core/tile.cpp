#include "core/tile.h"

#include <charconv>
#include <sstream>

#include "core/error.h"

namespace fse {

int Tile::at(const std::string& axis) const {
  for (const auto& [name, value] : axes)
    if (name == axis) return value;
  throw std::logic_error("tile has no axis '" + axis + "': " + to_text(*this));
}

std::string choice_text(const std::string& kernel, const Tile& tile) {
  return tile.axes.empty() ? kernel : kernel + " " + to_text(tile);
}

std::string to_text(const Tile& tile) {
  std::string text;
  for (const auto& [name, value] : tile.axes)
    text += (text.empty() ? "" : " ") + name + "=" + std::to_string(value);
  return text;
}

Tile tile_from_text(const std::string& text) {
  Tile tile;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    const size_t equals = word.find('=');
    int value = 0;
    const char* end = word.data() + word.size();
    if (equals == std::string::npos || equals == 0 ||
        std::from_chars(word.data() + equals + 1, end, value) !=
            std::from_chars_result{end, std::errc{}})
      fail_data("tile '" + text + "': expected axis=integer, got '" + word + "'");
    tile.axes.emplace_back(word.substr(0, equals), value);
  }
  return tile;
}

bool is_library(std::string_view kernel) {
  return kernel.ends_with(".library");
}

}  // namespace fse
