#include <fmt/format.h>

#include "core/config_keys.h"
#include "core/error.h"
#include "core/moe_config.h"

namespace fse {
namespace {

[[noreturn]] void fail_contradiction(const MoeConfig& config, int count, int width) {
  fail_usage(fmt::format("{}: {}{} is {}, but {} is {}: they contradict each other",
                         config.object.file, config.object.prefix,
                         find_stated(config.object, keys::kSharedCount)->key, count,
                         find_stated(config.object, keys::kSharedWidth)->key, width));
}

// A width that is stated is that of all shared experts together, a count that is stated alone means
// experts as wide as the routed ones. Of two, several experts and another width, either reading
// ("each" or "together") exists in public code.
SharedSpec read_sizes(const MoeConfig& config, int intermediate) {
  const auto count = find_uniform_int(config, keys::kSharedCount, 0, kMostExperts);
  const auto width = find_uniform_int(config, keys::kSharedWidth, 0, kWidest);
  if (count && width && (*count == 0) != (*width == 0)) fail_contradiction(config, *count, *width);
  SharedSpec shared;
  shared.count = count.value_or(width.value_or(0) > 0 ? 1 : 0);
  const int64_t counted = int64_t{shared.count} * intermediate;
  if (counted > kWidest)
    fail_value(config.object, find_stated(config.object, keys::kSharedCount)->key, shared.count,
               fmt::format("shared experts at most {} wide together", kWidest));
  if (count && width && *count > 1 && *width != counted)
    refuse(config.object, find_stated(config.object, keys::kSharedWidth)->key,
           fmt::format("is {} beside {} shared experts: whether each or all together is not known",
                       *width, *count));
  shared.shared_width = width ? *width : static_cast<int>(counted);
  return shared;
}

// The key that says there is a shared expert: a width where one is stated.
std::string_view spelling(const MoeConfig& config) {
  const auto width = find_stated(config.object, keys::kSharedWidth);
  return width ? width->key : find_stated(config.object, keys::kSharedCount)->key;
}

SharedWeight read_weight(const MoeConfig& config) {
  const bool counted = find_stated(config.object, keys::kSharedCount).has_value();
  switch (config.family.shared) {
    case SharedRule::constant:
      return SharedWeight::constant;
    case SharedRule::sigmoid_gate:
      return SharedWeight::sigmoid_gate;
    case SharedRule::by_spelling:
      if (counted) return SharedWeight::constant;
      break;
    case SharedRule::unknown:
      break;
  }
  refuse(config.object, spelling(config),
         fmt::format("whether the shared expert of model_type {} is gated is not known",
                     shown(config.model_type)));
}

}  // namespace

SharedSpec read_shared(const MoeConfig& config, int intermediate) {
  // Layers of these types have one: a config that states none is incomplete, not without.
  if (config.family.shared == SharedRule::sigmoid_gate &&
      !find_stated(config.object, keys::kSharedWidth))
    fail_missing(config.object, keys::kSharedWidth, "the width of the shared expert, or 0");
  SharedSpec shared = read_sizes(config, intermediate);
  if (shared.shared_width > 0) shared.weight = read_weight(config);
  return shared;
}

}  // namespace fse
