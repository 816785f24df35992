#include "core/read_file.h"

#include <fstream>
#include <sstream>

namespace fse {

std::optional<std::string> read_file(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return std::nullopt;
  std::ostringstream text;
  text << stream.rdbuf();
  if (text.bad()) return std::nullopt;
  return text.str();
}

}  // namespace fse
