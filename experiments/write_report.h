#pragma once
#include <filesystem>
#include <optional>
#include <string>

namespace fse {

struct ReportOptions {
  std::filesystem::path db;
  std::optional<std::string> study;  // left out: the newest
  std::filesystem::path out;         // empty: standard output
};

// The comparison of a study as Markdown.
void write_report(const ReportOptions&);

}  // namespace fse
