#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/names.h"

namespace fse {

// From which popularity of the experts a batch is assumed to draw.
enum class PriorKind { uniform, zipf, power_law, correlated, trace };
template <>
inline constexpr NameTable<PriorKind, 5> kNames<PriorKind>{{{PriorKind::uniform, "uniform"},
                                                            {PriorKind::zipf, "zipf"},
                                                            {PriorKind::power_law, "power_law"},
                                                            {PriorKind::correlated, "correlated"},
                                                            {PriorKind::trace, "trace"}}};

// zipf: popularity rank^-s. power_law: Pareto-distributed popularity with this tail exponent.
// correlated: a token repeats an earlier one's choice with probability rho. trace: counts.
struct RoutingPrior {
  PriorKind kind = PriorKind::uniform;
  double parameter = 0;
  std::vector<double> counts;  // trace: how often each expert was chosen
};

// What a grouped kernel's time depends on.
struct ExpectedLoad {
  double distinct = 0;  // experts with at least one row
  double blocks = 0;    // sum over experts of ceil(rows / block_m)
  double spread = 0;    // the same, of each expert at most `dies`
  double busiest = 0;   // rows of the most popular expert
  double pairs = 0;     // rows in all
};

// Probability that a token chooses each expert; they sum to top_k and none exceeds 1.
std::vector<double> inclusion(const RoutingPrior&, int experts, int top_k);

// Expectation for `tokens` rows. Slots are chosen by every token.
ExpectedLoad expected_load(const RoutingPrior&, int experts, int top_k, int slots, int tokens,
                           int block_m);

// The same with inclusion() already known, which takes longer than the rest. dies: that have a
// cache of their own, over which the blocks of an expert are spread.
ExpectedLoad expected_load(const RoutingPrior&, std::span<const double> chosen, int slots,
                           int tokens, int block_m, int dies = 1);

// The same by drawing `draws` batches: mean and the standard error of its distinct count.
struct SampledLoad {
  ExpectedLoad mean;
  double distinct_error = 0;
};
SampledLoad sampled_load(const RoutingPrior&, int experts, int top_k, int slots, int tokens,
                         int block_m, int draws, uint64_t seed);

}  // namespace fse
