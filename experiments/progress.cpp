#include "experiments/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace fse {
namespace {

using Clock = std::chrono::steady_clock;

std::string duration_text(double seconds) {
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  if (whole < 60) return fmt::format("{}s", whole);
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}h{:02}m", whole / 3600, whole / 60 % 60);
}

}  // namespace

Progress::Progress(int64_t cases, int64_t finished, bool quiet)
    : cases_(cases),
      finished_before_(finished),
      done_(finished),
      quiet_(quiet),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(Clock::now()) {}

Progress::~Progress() {
  if (!quiet_ && terminal_) fmt::print(stderr, "\r\x1b[K");
}

void Progress::activity(const std::string& what) {
  activity_ = what;
  redraw();
}

void Progress::attempt(const AttemptRecord& record) {
  ++attempts_;
  if (record.outcome.status != Status::measured) ++failures_;
  redraw();
}

void Progress::case_done(const std::string& label, const Summary& time_us, bool ok,
                         const std::string& why) {
  ++done_;
  if (!ok) ++failures_;
  if (ok && (best_.empty() || time_us.median < best_us_)) {
    best_ = label;
    best_us_ = time_us.median;
  }
  if (quiet_) return;
  const std::string result = ok ? fmt::format("{:.1f} us [{:.1f}, {:.1f}] n={}", time_us.median,
                                              time_us.lo, time_us.hi, time_us.n)
                                : "failed: " + why;
  fmt::print(stderr, "{}[{}/{}] {}: {}\n", terminal_ ? "\r\x1b[K" : "", done_, cases_, label,
             result);
  redraw();
}

std::string Progress::status() const {
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  const int64_t here = done_ - finished_before_;
  const std::string eta =
      here > 0
          ? duration_text(elapsed / static_cast<double>(here) * static_cast<double>(cases_ - done_))
          : "?";
  std::string text = fmt::format("{}/{} cases  ETA {}  {} attempts  {} failures", done_, cases_,
                                 eta, attempts_, failures_);
  if (!best_.empty()) text += fmt::format("  best {:.1f} us ({})", best_us_, best_);
  return text + "  " + activity_;
}

// At most ten times a second: a terminal is slower than a short kernel.
void Progress::redraw() {
  if (quiet_ || !terminal_) return;
  const Clock::time_point now = Clock::now();
  if (now - drawn_ < std::chrono::milliseconds(100)) return;
  drawn_ = now;
  fmt::print(stderr, "\r\x1b[K{:.{}}", status(), 118);
  std::fflush(stderr);
}

}  // namespace fse
