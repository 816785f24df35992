#include "kernels/fault/spec.h"

#include <fmt/format.h>

#include <charconv>

#include "core/error.h"

namespace fse {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

[[noreturn]] void fail_item(const std::string& item, const std::string& expected) {
  fail_usage(fmt::format("fault device: '{}', expected {}", item, expected));
}

// A compiler makes no result and takes no measured time.
bool possible(const Fault& fault) {
  switch (fault.failure) {
    case Failure::wrong:
    case Failure::nan:
    case Failure::slow:
    case Failure::fast:
    case Failure::zero:
      return fault.stage != Stage::compile;
    default:
      return true;
  }
}

void read_target(const std::string& item, const std::string& text, Fault& fault) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), fault.nth);
  if (error == std::errc() && end == text.data() + text.size() && fault.nth > 0) return;
  fault.nth = 0;
  fault.words = split(text, '+');
  for (const std::string& word : fault.words)
    if (word.empty()) fail_item(item, "a number from 1 or words joined by '+' behind '@'");
}

Fault read_fault(const std::string& item) {
  const size_t equals = item.find('=');
  if (equals == std::string::npos) fail_item(item, "times=made or FAILURE=STAGE[@WHICH]");
  const auto failure = from_name<Failure>(item.substr(0, equals));
  if (!failure) fail_item(item, "times=made or a failure: " + all_names<Failure>());
  const size_t at = std::min(item.find('@', equals), item.size());
  const auto stage = from_name<Stage>(item.substr(equals + 1, at - equals - 1));
  if (!stage) fail_item(item, "a stage behind '=': " + all_names<Stage>());
  Fault fault{.failure = *failure, .stage = *stage};
  if (!possible(fault)) fail_item(item, "a failure that compiling can have");
  if (at < item.size()) read_target(item, item.substr(at + 1), fault);
  return fault;
}

}  // namespace

FaultSpec parse_fault_spec(const std::string& text) {
  const size_t question = std::min(text.find('?'), text.size());
  FaultSpec spec{.device = text.substr(0, question)};
  if (spec.device.empty() || spec.device.starts_with("fault:"))
    fail_item("fault:" + text, "a real device behind 'fault:', e.g. fault:cpu?hang=verify@3");
  if (question == text.size()) return spec;
  for (const std::string& item : split(text.substr(question + 1), '&'))
    if (item == "times=made")
      spec.made_times = true;
    else
      spec.faults.push_back(read_fault(item));
  return spec;
}

}  // namespace fse
