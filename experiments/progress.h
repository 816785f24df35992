#pragma once
#include <chrono>
#include <string>

#include "core/store.h"

namespace fse {

// What a run says while it works: one line that rewrites itself on a terminal, a plain line per
// finished case elsewhere. Writes to standard error, so that the comparison can be piped.
class Progress {
 public:
  Progress(int64_t cases, int64_t finished, bool quiet);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void activity(const std::string& what);  // "tuning grouped_stage1 tokens=4"
  void attempt(const AttemptRecord&);      // a tile was tried
  void case_done(const std::string& label, const Summary& time_us, bool ok, const std::string& why);

 private:
  void redraw();
  std::string status() const;

  const int64_t cases_;
  const int64_t finished_before_;
  int64_t done_;
  int64_t attempts_ = 0, failures_ = 0;
  std::string activity_, best_;
  double best_us_ = 0;
  const bool quiet_, terminal_;
  const std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point drawn_;
};

}  // namespace fse
