#pragma once
#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>

namespace fse {

// What went wrong decides the exit code of the command (0 fine, 1 a verdict or gate failed).
enum class ErrorKind { usage = 2, environment = 3, incomplete = 4, data = 5 };

// Thrown for what must not fail. What can fail often (a tile, a kernel) is a value: see outcome.h.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind(kind) {}
  ErrorKind kind;
};

// A layer or variant fselab does not implement exactly. The message begins "refused: ".
class Refused : public Error {
 public:
  explicit Refused(const std::string& reason) : Error(ErrorKind::usage, "refused: " + reason) {}
};

[[noreturn]] inline void fail_usage(const std::string& m) {
  throw Error(ErrorKind::usage, m);
}
[[noreturn]] inline void fail_data(const std::string& m) {
  throw Error(ErrorKind::data, m);
}

// A broken assumption inside fselab, in release builds too; users' mistakes get an Error instead.
inline void check(bool holds, std::string_view what,
                  std::source_location at = std::source_location::current()) {
  if (holds) return;
  throw std::logic_error(std::string(at.file_name()) + ":" + std::to_string(at.line()) +
                         ": broken assumption: " + std::string(what));
}

}  // namespace fse
