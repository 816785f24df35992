#pragma once
#include <string>

namespace fse {

// One part of several, which have nothing in common.
struct ShardChoice {
  int number = 1, of = 1;
};
// "2/8"; all of it where the text is empty.
ShardChoice read_shard(const std::string& text);

}  // namespace fse
