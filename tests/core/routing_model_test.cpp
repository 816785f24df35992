#include "core/routing_model.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/routing_prior.h"
#include "core/workload.h"
#include "tests/core/store_fixture.h"
#include "tests/core/trace_fixture.h"

namespace fse {

TEST_CASE("the expected distinct experts agree with drawn batches") {
  const RoutingPrior uniform{};
  const RoutingPrior zipf{.kind = PriorKind::zipf, .parameter = 1.2, .counts = {}};
  const RoutingPrior power{.kind = PriorKind::power_law, .parameter = 1.5, .counts = {}};
  RoutingPrior trace{.kind = PriorKind::trace, .counts = std::vector<double>(128, 1.0)};
  for (size_t e = 0; e < 16; ++e) trace.counts[8 * e] = 40;
  for (const RoutingPrior& prior : {uniform, zipf, power, trace})
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

TEST_CASE("an expert's blocks are spread over as many dies as there are, at most") {
  const RoutingPrior zipf{.kind = PriorKind::zipf, .parameter = 1.2, .counts = {}};
  const std::vector<double> chosen = inclusion(zipf, 128, 8);
  for (const int tokens : {1, 64, 4096}) {
    CAPTURE(tokens);
    const ExpectedLoad one = expected_load(zipf, chosen, 1, tokens, 16);
    CHECK(one.spread == doctest::Approx(one.distinct));
    const ExpectedLoad few = expected_load(zipf, chosen, 1, tokens, 16, 4);
    const ExpectedLoad many = expected_load(zipf, chosen, 1, tokens, 16, 1 << 20);
    CHECK(few.spread >= one.spread * (1 - 1e-12));
    CHECK(few.spread <= 4 * one.spread * (1 + 1e-12));
    CHECK(many.spread == doctest::Approx(many.blocks));
  }
}

TEST_CASE("the prior of a trace is how often its rows choose each expert") {
  const test::TemporaryFolder folder;
  const auto file = folder / "ids.safetensors";
  test::write_trace(file, {{0, 1}, {0, 2}, {0, 3}, {0, 1}});
  const RoutingSpec spec{.experts = 8, .top_k = 2};
  const RoutingDistribution routing{.kind = RoutingKind::trace, .trace = file};
  const RoutingPrior prior = prior_of(routing, spec);
  CHECK(prior.kind == PriorKind::trace);
  REQUIRE(prior.counts.size() == 8);
  CHECK(prior.counts[0] == doctest::Approx(2 * prior.counts[1]));
  CHECK(prior.counts[1] == doctest::Approx(2 * prior.counts[2]));
  CHECK(prior.counts[2] == doctest::Approx(prior.counts[3]));
  CHECK(prior.counts[7] == 0);
  // Experts that no row chooses are not expected either.
  CHECK(expected_load(prior, 8, 2, 0, 4096, 16).distinct == doctest::Approx(4));
  CHECK_THROWS(prior_of({.kind = RoutingKind::trace, .trace = folder / "none"}, spec));
}

TEST_CASE("correlated tokens choose fewer experts, as many as drawn batches do") {
  for (const double rho : {0.0, 0.3, 0.8})
    for (const int tokens : {2, 16, 64}) {
      CAPTURE(rho);
      CAPTURE(tokens);
      const RoutingPrior prior{.kind = PriorKind::correlated, .parameter = rho, .counts = {}};
      const double expected = expected_load(prior, 128, 8, 0, tokens, 16).distinct;
      const SampledLoad drawn = sampled_load(prior, 128, 8, 0, tokens, 16, 400, 7);
      CHECK(std::abs(expected - drawn.mean.distinct) <
            4 * drawn.distinct_error + 0.05 * drawn.mean.distinct);
      CHECK(expected <= expected_load({}, 128, 8, 0, tokens, 16).distinct * (1 + 1e-12));
    }
}

TEST_CASE("a workload's routing has a prior: the more concentrated, the fewer experts") {
  const RoutingSpec spec{.experts = 128, .top_k = 8};
  const auto distinct = [&](const RoutingDistribution& routing) {
    return expected_load(prior_of(routing, spec), 128, 8, 0, 32, 16).distinct;
  };
  const double even = distinct({});
  CHECK(distinct({.kind = RoutingKind::zipf, .parameter = 1.2}) < even);
  const double mild = distinct({.kind = RoutingKind::dirichlet, .parameter = 10});
  const double strong = distinct({.kind = RoutingKind::dirichlet, .parameter = 0.1});
  CHECK(strong < mild);
  CHECK(mild < even);
  CHECK(mild > 0.9 * even);
}

TEST_CASE("the prior of dirichlet routing expects what its batches hold") {
  LayerSpec layer{.hidden = 64, .intermediate = 64};
  layer.routing = {.experts = 128, .top_k = 8};
  const RoutingDistribution routing{.kind = RoutingKind::dirichlet, .parameter = 0.3};
  double drawn = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed)
    drawn += double(load_of(draw_routing(layer, routing, 32, seed), 128).active()) / 200;
  const double expected =
      expected_load(prior_of(routing, layer.routing), 128, 8, 0, 32, 16).distinct;
  CHECK(std::abs(expected / drawn - 1) < 0.05);
}

}  // namespace fse
