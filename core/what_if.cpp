#include "core/what_if.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>

#include "core/error.h"
#include "core/nearest.h"

namespace fse {
namespace {

struct Change {
  std::string name;
  bool factor = false;
  double value = 0;
};

Change parse(const std::string& text) {
  const size_t equals = text.find('=');
  const std::string expected = "expected NAME=VALUE or NAME*=FACTOR, e.g. launch_us=1.0";
  if (equals == std::string::npos || equals == 0)
    fail_usage(fmt::format("what-if '{}': {}", text, expected));
  Change change{.name = text.substr(0, equals)};
  if (change.name.ends_with('*')) change.factor = true, change.name.pop_back();
  const char *begin = text.data() + equals + 1, *end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(begin, end, change.value);
  if (error != std::errc() || stop != end || !std::isfinite(change.value))
    fail_usage(fmt::format("what-if '{}': '{}' is no number, {}", text, begin, expected));
  return change;
}

double changed(const Change& change, double from, double low, double high) {
  const double value = change.factor ? from * change.value : change.value;
  if (!(value >= low && value <= high))
    fail_usage(fmt::format("what-if: {} is {}, expected {} to {}", change.name, value, low, high));
  return value;
}

bool change_framework(const Change& change, FrameworkModel& f) {
  if (change.name == "host_us")
    f.host_us = changed(change, f.host_us, 0, 1e6);
  else if (change.name == "host_token_us")
    f.host_token_us = changed(change, f.host_token_us, 0, 1e6);
  else if (change.name == "max_batched_tokens")
    f.max_batched_tokens = static_cast<int>(changed(change, f.max_batched_tokens, 1, 1 << 20));
  else if (change.name == "zipf")
    f.random_prompts = {.kind = PriorKind::zipf,
                        .parameter = changed(change, f.random_prompts.parameter, 0, 4),
                        .counts = {}};
  else
    return false;
  return true;
}

}  // namespace

void apply_what_if(const std::vector<std::string>& changes, DeviceModel& device,
                   FrameworkModel& framework) {
  for (const std::string& text : changes) {
    const Change change = parse(text);
    if (const DeviceField* field = find_device_field(change.name)) {
      device.*field->value = changed(change, device.*field->value, field->lowest, field->highest);
      continue;
    }
    if (change_framework(change, framework)) continue;
    std::vector<std::string> names{"host_us", "host_token_us", "max_batched_tokens", "zipf"};
    for (const DeviceField& field : device_fields()) names.emplace_back(field.name);
    fail_usage(fmt::format("what-if '{}': no such number, expected one of {}{}", text,
                           fmt::join(names, ", "), did_you_mean(change.name, names)));
  }
}

}  // namespace fse
