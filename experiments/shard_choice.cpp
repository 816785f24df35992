#include "experiments/shard_choice.h"

#include <fmt/format.h>

#include <charconv>

#include "core/error.h"

namespace fse {

ShardChoice read_shard(const std::string& text) {
  if (text.empty()) return {};
  ShardChoice shard{0, 0};
  const char* const end = text.data() + text.size();
  const auto number = std::from_chars(text.data(), end, shard.number);
  const bool slash = number.ec == std::errc() && number.ptr != end && *number.ptr == '/';
  const auto of = slash ? std::from_chars(number.ptr + 1, end, shard.of) : number;
  if (!slash || of.ec != std::errc() || of.ptr != end || shard.number < 1 ||
      shard.number > shard.of)
    fail_usage(fmt::format("--shard '{}', expected I/N with I from 1 to N", text));
  return shard;
}

}  // namespace fse
