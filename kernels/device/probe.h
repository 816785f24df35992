#pragma once
// What the matrix units can do at best: nothing is loaded, nothing is stored.
#include "kernels/device/mma_tile.h"

namespace fse::gpu {

// Each wave does kRounds * kChains multiply() steps, in chains long enough to hide their latency.
// The operands come from memory, so that no compiler knows the result; the store never happens.
template <int kRounds, int kChains>
__global__ void __launch_bounds__(256) matrix_rate(const Vec16* operands, float* sink) {
  Vec16 weights[kRowParts];
  for (int part = 0; part < kRowParts; ++part) weights[part] = operands[part];
  const Vec16 tokens = operands[2];
  float sums[kChains][4] = {};
  for (int round = 0; round < kRounds; ++round)
#pragma unroll
    for (int chain = 0; chain < kChains; ++chain) multiply<false>(sums[chain], weights, tokens);
  float total = 0;
  for (int chain = 0; chain < kChains; ++chain)
    for (int i = 0; i < 4; ++i) total += sums[chain][i];
  if (total == 1.0f) sink[0] = total;
}

}  // namespace fse::gpu
