#pragma once
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/temporary_folder.h"

namespace fse::test {

inline std::filesystem::path device_headers() {
  return std::filesystem::path(FSELAB_SOURCE_DIR) / "kernels" / "device";
}

inline std::string text_of(const std::filesystem::path& file) {
  std::ostringstream read;
  read << std::ifstream(file).rdbuf();
  return read.str();
}

// One change to one of the real device headers.
struct Mutation {
  std::string header, text, instead;
};

// A copy of them with it. The text is there once: a test of code that moved fails.
class MutatedHeaders {
 public:
  explicit MutatedHeaders(const Mutation& m) {
    std::filesystem::create_directories(folder().parent_path());
    std::filesystem::copy(device_headers(), folder());
    std::string source = text_of(folder() / m.header);
    const size_t at = source.find(m.text);
    CAPTURE(m.header);
    CAPTURE(m.text);
    REQUIRE(at != std::string::npos);
    REQUIRE(source.find(m.text, at + 1) == std::string::npos);
    source.replace(at, m.text.size(), m.instead);
    std::ofstream(folder() / m.header) << source;
  }
  std::filesystem::path folder() const { return folder_.path() / "kernels" / "device"; }
  // "dispatch.h:55": the only line with this text.
  std::string line(const std::string& header, const std::string& text) const {
    std::ifstream source(folder() / header);
    int found = 0, number = 0;
    for (std::string line; std::getline(source, line);) {
      ++number;
      if (line.find(text) == std::string::npos) continue;
      REQUIRE(found == 0);
      found = number;
    }
    REQUIRE(found > 0);
    return header + ":" + std::to_string(found);
  }

 private:
  TemporaryFolder folder_;
};

}  // namespace fse::test
