#include "tuner/dispatch.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace fse::test {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

// Two choices whose times swap at `at` tokens: slower by 10 % per factor of two beyond.
DispatchSamples crossing(const std::vector<int>& tokens, double at) {
  DispatchSamples all{.experts_per_token = 10.0 / 512, .choices = {"small", "large"}};
  for (const int t : tokens) {
    const double distance = 0.1 * std::log2(t / at);
    all.samples.push_back({.tokens = t,
                           .routing = "uniform",
                           .regret = {std::max(0.0, distance), std::max(0.0, -distance)}});
  }
  return all;
}

}  // namespace

TEST_CASE("dispatch: one crossover gives two rows, and its place is found between the samples") {
  const DispatchSamples samples = crossing({1, 2, 4, 8, 16, 32, 64}, 11.0);
  const DispatchTable table = build_dispatch(samples, 0.02);
  REQUIRE(table.parts.size() == 1);
  REQUIRE(table.parts[0].rows.size() == 2);
  const DispatchRow& large = table.parts[0].rows[1];
  CHECK(large.crossover);
  CHECK(large.begin == doctest::Approx(11.0 * 10 / 512));
  CHECK(large.first_tokens == 16);
  CHECK(table.parts[0].rows[0].last_tokens == 8);
  CHECK(table.sampled == 0);
  CHECK(table.held_out == 0);
  CHECK(table.reached);
}

TEST_CASE("dispatch: more rows than the asked regret needs are not given, and the costs show why") {
  const DispatchSamples samples = crossing({1, 2, 4, 8, 16, 32, 64}, 11.0);
  const DispatchTable loose = build_dispatch(samples, 0.5);
  CHECK(loose.rows() == 1);
  CHECK(loose.sampled > 0.2);
  REQUIRE(loose.costs.size() == 2);
  CHECK(loose.costs[0].sampled == loose.sampled);
  CHECK(loose.costs[0].held_out <= 0.5);
  CHECK(loose.costs[1].sampled == 0);
}

TEST_CASE("dispatch: what no table foresees is told, and where") {
  DispatchSamples samples = crossing({1, 2, 4, 8, 16}, 1000);
  samples.samples[2].regret = {0.3, 0};  // one token count alone is another's
  const DispatchTable table = build_dispatch(samples, 0.02);
  CHECK_FALSE(table.reached);
  CHECK(table.held_out == doctest::Approx(0.3));
  CHECK(table.costs.back().worst_tokens == 4);
  const DispatchTable few = build_dispatch(crossing({1, 64}, 8), 0.02);
  CHECK(std::isnan(few.held_out));  // the ends are never held out
  CHECK_FALSE(few.reached);
  CHECK(few.rows() == 2);
}

TEST_CASE("dispatch: regimes share a table while they agree, and get their own where they do not") {
  DispatchSamples samples = crossing({1, 2, 4, 8, 16, 32, 64}, 11.0);
  const DispatchSamples zipf = crossing({1, 2, 4, 8, 16, 32, 64}, 11.0);
  for (DispatchSample s : zipf.samples) {
    s.routing = "zipf(1.2)";
    samples.samples.push_back(s);
  }
  CHECK(build_dispatch(samples, 0.02).parts.size() == 1);
  for (DispatchSample& s : samples.samples)
    if (s.routing != "uniform") s.regret = {0.2, 0};  // the large one always
  const DispatchTable table = build_dispatch(samples, 0.02);
  REQUIRE(table.parts.size() == 2);
  CHECK(table.parts[0].rows.size() == 2);
  CHECK(table.parts[1].rows.size() == 1);
  CHECK(table.reached);
  CHECK(look_up(samples, table, 1, "zipf(1.2)", "").choice == 1);
  CHECK(look_up(samples, table, 1, "uniform", "").choice == 0);
  const DispatchAnswer other = look_up(samples, table, 1, "dirichlet(0.3)", "");
  CHECK(other.trust == DispatchClass::fallback);
  CHECK_FALSE(other.choice);
}

TEST_CASE("dispatch: an answer says how far it may be trusted, and why") {
  const DispatchSamples samples = crossing({1, 2, 4, 8, 16, 32, 64}, 11.0);
  const DispatchTable table = build_dispatch(samples, 0.02);
  const auto ask = [&](int tokens, const std::string& routing, const std::string& changed = "") {
    return look_up(samples, table, tokens, routing, changed);
  };
  CHECK(ask(8, "uniform").trust == DispatchClass::exact);
  CHECK(ask(8, "uniform").choice == 0);
  CHECK(ask(9, "uniform").trust == DispatchClass::interpolated);
  CHECK(ask(9, "uniform").why == "between tokens=8 and 16");
  CHECK(ask(12, "uniform").choice == 1);  // behind the crossover, before the next sample
  CHECK(ask(8, "zipf(1.2)").trust == DispatchClass::interpolated);
  CHECK(ask(8, "zipf(1.2)").why == "tokens=8 was measured, but not with zipf(1.2)");
  CHECK(ask(65, "uniform").trust == DispatchClass::fallback);
  CHECK(ask(65, "uniform").why == "tokens=65 is outside of what was measured, 1 to 64");
  const DispatchAnswer stale = ask(8, "uniform", "kernels changed");
  CHECK(stale.trust == DispatchClass::stale);
  CHECK(stale.why == "kernels changed");
}

TEST_CASE("dispatch: where every token count had a choice of its own, each keeps it") {
  DispatchSamples all{.experts_per_token = 0.1, .choices = {"a", "b", "c"}};
  for (size_t i = 0; i < 3; ++i) {
    DispatchSample s{.tokens = 1 << i, .routing = "uniform", .regret = {kNever, kNever, kNever}};
    s.regret[i] = 0;
    all.samples.push_back(s);
  }
  const DispatchTable table = build_dispatch(all, 0.02);
  CHECK(table.rows() == 3);
  CHECK_FALSE(table.reached);
  for (size_t i = 0; i < 3; ++i) CHECK(look_up(all, table, 1 << i, "uniform", "").choice == i);
}

TEST_CASE("dispatch: a choice that was not measured at a token count is never given for it") {
  rc::check([] {
    const int n = *rc::gen::inRange(1, 9), choices = *rc::gen::inRange(1, 5);
    DispatchSamples all{.experts_per_token = 0.1,
                        .choices = std::vector<std::string>(static_cast<size_t>(choices), "c")};
    for (int i = 0; i < n; ++i) {
      DispatchSample s{.tokens = 1 << i, .routing = "uniform"};
      for (int c = 0; c < choices; ++c) {
        const int drawn = *rc::gen::inRange(0, 40);
        s.regret.push_back(drawn > 30 ? kNever : drawn / 100.0);
      }
      s.regret[static_cast<size_t>(*rc::gen::inRange(0, choices))] = 0;
      all.samples.push_back(s);
    }
    const DispatchTable table = build_dispatch(all, 0.02);
    RC_ASSERT(table.sampled < 1);
    for (const DispatchSample& s : all.samples) {
      const auto choice = look_up(all, table, s.tokens, "uniform", "").choice;
      RC_ASSERT(choice.has_value());
      RC_ASSERT(s.regret[*choice] <= table.sampled);
    }
    // The most rows there are cost nothing at what they were made from.
    RC_ASSERT(table.costs.back().sampled == 0);
    for (size_t i = 1; i < table.costs.size(); ++i)
      RC_ASSERT(table.costs[i].sampled <= table.costs[i - 1].sampled);
  });
}

}  // namespace fse::test
