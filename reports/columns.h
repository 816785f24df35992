#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace fse {

// A column of what `fselab db` answers. Its name and meaning stay; columns are only added.
struct Column {
  std::string_view name, meaning;
};

// Those of a verb: "ls", "ls --cases", "best", "top", "top --level step", "failures", "coverage",
// "diff" (behind those that say which case it is), "steps", "counters", "rerun", "check". Empty for
// other verbs.
std::vector<Column> columns_of(std::string_view verb);

// The same for --help: one a line.
std::string column_help(std::string_view verb);

}  // namespace fse
