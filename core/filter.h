#pragma once
#include <string>
#include <variant>
#include <vector>

namespace fse {

// What selects attempts and cases on every command line: conditions that must all hold.
//   model=qwen3-next  tokens>=4  variant.shared=slot,mlp  status!=measured  kernel~grouped
// `=` on text takes the whole name or its beginning up to a '-'; a comma lists alternatives; `~`
// is "contains". Both `variant.shared` and `shared` name that axis.
struct Filter {
  std::string where = "1";  // over the rows of kFilterRows
  std::vector<std::variant<double, std::string>> parameters;
  bool of_attempts = false;  // some condition is about the attempt itself, not what it belongs to
};
Filter parse_filter(const std::vector<std::string>& conditions);  // Error(usage) says what exists

// What a filter's conditions refer to: attempt a, its study s, environment e and, for layers, its
// case c.
inline constexpr const char* kFilterRows =
    "attempt a JOIN study s ON s.id = a.study JOIN environment e ON e.id = a.environment "
    "LEFT JOIN layer_case c ON c.study = a.study AND c.id = a.case_id";

std::string filter_help();  // its grammar and columns, for --help
std::vector<std::string> filter_columns();

}  // namespace fse
