#include "tuner/selection.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/rng.h"

using namespace fse;

namespace {

AttemptRecord layer(std::vector<double> us) {
  AttemptRecord a;
  a.outcome.status = Status::measured;
  a.outcome.samples_us = std::move(us);
  a.bytes = 1e6;  // 100 us: 10 GB/s
  a.read_gbs = 10;
  return a;
}

std::vector<double> steady(double us) {
  return std::vector<double>(8, us);
}

AttemptRecord finalist(const std::string& kernel, std::vector<double> us) {
  AttemptRecord a = layer(std::move(us));
  a.kernel = kernel;
  return a;
}

// Rounds of two contestants that are the same: a machine that drifts, neighbours that wake up for a
// while, and noise with a heavy tail that hits each on its own.
struct Race {
  std::vector<double> a, b;
  Race(uint64_t seed, int rounds) {
    Rng rng(seed);
    double drift = 1;
    for (int r = 0; r < rounds; ++r) {
      drift *= 1 + 0.02 * rng.normal();
      const double neighbour = rng.uniform() < 0.2 ? 1.5 : 1;
      for (std::vector<double>* side : {&a, &b}) {
        const double spike = rng.uniform() < 0.05 ? 3 : 1;
        side->push_back(100 * drift * neighbour * spike * std::exp(0.03 * rng.normal()));
      }
    }
  }
};

}  // namespace

TEST_CASE("B7: of 200 races of a layer against itself at most 5 % end in a false verdict") {
  for (int rounds : {6, 25, 101}) {
    int wrong = 0, with_a_second = 0;
    for (uint64_t seed = 1; seed <= 200; ++seed) {
      const Race race(seed, rounds);
      const Verdict v = compare_paired(race.a, race.b).verdict;
      wrong += v == Verdict::faster || v == Verdict::slower;
      std::vector<double> slower = race.b;
      for (double& us : slower) us *= 1.5;
      with_a_second += compare_paired(race.a, slower).verdict == Verdict::faster;
    }
    CAPTURE(rounds);
    CHECK(wrong <= 10);
    CHECK(with_a_second > 100);  // what is there is seen: the test can fail both ways
  }
}

TEST_CASE("B10: a sample that is no time makes a layer suspect") {
  CHECK(suspicion(layer(steady(200)), Cache::cold_weights, 0, {}).empty());
  for (double bad : {0.0, -3.0, std::nan(""), double{INFINITY}}) {
    std::vector<double> us = steady(200);
    us[5] = bad;
    CHECK(suspicion(layer(us), Cache::cold_weights, 0, {}).find("expected a time above 0") !=
          std::string::npos);
  }
}

TEST_CASE(
    "B4: more bandwidth than the device has is suspect, but only where memory is what was read") {
  const AttemptRecord edge = layer(steady(100 / 1.019)), beyond = layer(steady(100 / 1.021));
  CHECK(suspicion(edge, Cache::cold_weights, 0, {}).empty());
  CHECK(suspicion(beyond, Cache::cold_weights, 0, {}).find("10.2 GB/s are read") == 0);
  CHECK_FALSE(suspicion(beyond, Cache::cold_all, 0, {}).empty());
  CHECK(suspicion(beyond, Cache::cold_weights, 11, {}).empty());  // its datasheet says 11 GB/s
  CHECK_FALSE(suspicion(beyond, Cache::cold_weights, 9, {}).empty());
  CHECK(suspicion(beyond, Cache::warm, 0, {}).empty());
  AttemptRecord small = beyond;
  small.rotation_shortfall_bytes = 1;  // its weights may lie in the cache
  CHECK(suspicion(small, Cache::cold_weights, 0, {}).empty());
  AttemptRecord unknown = beyond;
  unknown.read_gbs = 0;
  CHECK(suspicion(unknown, Cache::cold_weights, 0, {}).empty());
}

TEST_CASE("the very samples of another token count are suspect, equal medians are not") {
  AttemptRecord a = layer({200, 201, 202, 203, 204, 205}), twin = a;
  twin.id = 7;
  CHECK(suspicion(a, Cache::cold_weights, 0, {twin}).find("attempt 7") != std::string::npos);
  std::swap(twin.outcome.samples_us[0], twin.outcome.samples_us[1]);
  CHECK(suspicion(a, Cache::cold_weights, 0, {twin}).empty());
  a.outcome.samples_us.resize(3);  // too few to be more than chance
  twin.outcome.samples_us = a.outcome.samples_us;
  CHECK(suspicion(a, Cache::cold_weights, 0, {twin}).empty());
}

TEST_CASE("finals are won by the ratio to the incumbent, round by round") {
  // The machine slows down from round to round. The second is faster in four of six rounds, which
  // its own median does not show.
  const std::vector<AttemptRecord> finals{finalist("a", {100, 110, 120, 130, 140, 150}),
                                          finalist("b", {98, 108, 125, 136, 137, 147})};
  CHECK(median(finals[1].outcome.samples_us) > median(finals[0].outcome.samples_us));
  CHECK(best_finalist(finals) == 1);
}

TEST_CASE("equal finalists are told apart by their slow rounds, registers, then names") {
  const std::vector<double> steady{100, 100, 100, 100, 100, 100};
  std::vector<AttemptRecord> finals{finalist("b", {100, 100, 100, 100, 100, 180}),
                                    finalist("b", steady), finalist("a", steady)};
  CHECK(best_finalist(finals) == 2);
  finals[2].outcome.resources = KernelResources{.registers = 64};
  CHECK(best_finalist(finals) == 1);
  finals[1].outcome.status = finals[2].outcome.status = Status::wrong;
  CHECK(best_finalist(finals) == 0);
  finals[0].outcome.status = Status::suspect;
  CHECK_FALSE(best_finalist(finals));
  CHECK_FALSE(best_finalist({}));
}

TEST_CASE("where the incumbent failed, the next that was measured takes its place") {
  std::vector<AttemptRecord> finals{finalist("a", {1}), finalist("b", {100, 100, 100}),
                                    finalist("c", {90, 90, 90})};
  finals[0].outcome.status = Status::crashed;
  CHECK(best_finalist(finals) == 2);
}
