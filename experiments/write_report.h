#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace fse {

struct ReportOptions {
  std::filesystem::path db;
  std::optional<std::string> study;  // left out: the newest
  std::string format = "md";         // md, csv, json, html
  std::filesystem::path out;         // empty: standard output
  std::vector<std::string> compare;  // two selections instead of a study
  std::filesystem::path against;     // the second selection's database; empty: the same
  std::string gate;                  // "layer_time_us<=+3%", with compare
  std::filesystem::path junit;       // also written, with compare
};

// The comparison of a study, or of two selections; exit code 1 where a gate is broken.
int write_report(const ReportOptions&);

}  // namespace fse
