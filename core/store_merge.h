#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace fse {

struct MergeResult {
  int64_t attempts = 0, cases = 0;  // added; brought to an end
  int64_t counts = 0;               // kernels counted in an emulator, added
  // Where the files disagree: two ends of a case, two winners of a key, two histories of a process.
  std::vector<std::string> conflicts;
};

// Joins databases into `into`, which is made where missing: studies with the same cases become one,
// environments that are the same too, and what was merged before is not added again. Nothing is
// written where there is a conflict, unless `keep`: then what `into` says stays.
// Throws Error(usage) for a file that is merged into itself, that is of an older schema, or in
// which an attempt is still running.
MergeResult merge_stores(const std::vector<std::filesystem::path>& from,
                         const std::filesystem::path& into, bool keep);

}  // namespace fse
