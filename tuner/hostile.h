#pragma once
#include <span>
#include <string>
#include <vector>

#include "core/weights.h"

namespace fse {

// An input that a kernel which is right on the usual ones may still get wrong.
struct HostileInput {
  std::string name;
  std::vector<float> x;  // [tokens, hidden]
  int set = 0;  // of the rotation: the last, so that a kernel that always reads set 0 shows
};

// "one expert takes all": every token goes to the same top_k experts, and the others are empty.
// "hostile rows": another seed's routing, between a row of zeros, whose logits are all equal, and a
// row of NaN, which may spoil no row but its own; one token alone is the zeros.
std::vector<HostileInput> hostile_inputs(std::span<const LayerWeights> sets, int tokens);

}  // namespace fse
