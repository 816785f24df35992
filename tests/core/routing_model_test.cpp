#include "core/routing_model.h"

#include <doctest/doctest.h>

#include <cmath>

namespace fse {

TEST_CASE("the expected distinct experts agree with drawn batches") {
  const RoutingPrior uniform{};
  const RoutingPrior zipf{.kind = PriorKind::zipf, .parameter = 1.2, .counts = {}};
  for (const RoutingPrior& prior : {uniform, zipf})
    for (const int tokens : {1, 8, 64}) {
      CAPTURE(to_name(prior.kind));
      CAPTURE(tokens);
      const ExpectedLoad expected = expected_load(prior, 128, 8, 1, tokens, 16);
      const SampledLoad drawn = sampled_load(prior, 128, 8, 1, tokens, 16, 400, 7);
      CHECK(std::abs(expected.distinct - drawn.mean.distinct) <
            4 * drawn.distinct_error + 0.03 * expected.distinct);
      CHECK(std::abs(expected.blocks - drawn.mean.blocks) < 0.05 * expected.blocks);
      CHECK(expected.pairs == tokens * 9);
    }
}

}  // namespace fse
