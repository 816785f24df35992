#pragma once
#include <cstdint>
#include <vector>

#include "core/case.h"
#include "core/op.h"

namespace fse {

// Routed ids [tokens, top_k] (whole numbers) drawn from the distribution: distinct per token,
// inside the groups the layer may keep, expert popularity shuffled by seed so that expert 0 is not
// always the hot one. uniform: all experts alike; zipf(s): popularity rank^-s; dirichlet(a):
// popularity drawn once per batch; trace: rows of the file, cycled from a seeded start. Same seed,
// same ids.
Matrix draw_routing(const LayerSpec&, const RoutingDistribution&, int tokens, uint64_t seed);

// An input [tokens, hidden] that makes the layer's own router choose `ids`: the sum of the chosen
// experts' router rows, descending in weight, over seeded noise; values are bf16-exact. The router
// kernels run as they are, and what they really chose is recorded as the realised load.
std::vector<float> plant_input(const LayerWeights&, const Matrix& ids, uint64_t seed);

// Plain seeded standard normal input [tokens, hidden], bf16-exact.
std::vector<float> random_input(int tokens, int hidden, uint64_t seed);

// Expected number of distinct experts under uniform routing: E * (1 - (1 - k/E)^tokens).
double expected_distinct(const RoutingSpec&, int tokens);

// Weight sets needed so that (sets - 1) * touched >= 2 * llc, at least 2 (1 when warm).
int sets_for_rotation(int64_t touched_bytes, int64_t llc_bytes, Cache cache);

}  // namespace fse
