#pragma once
#include <SQLiteCpp/SQLiteCpp.h>

#include <string>
#include <vector>

#include "tests/reports/synthetic.h"

namespace fse::test {

// Numbers in [0, 1) that are the same on every machine.
inline double scattered(int i, int salt) {
  const double x = std::sin(12.9898 * i + 78.233 * salt) * 43758.5453;
  return x - std::floor(x);
}

// The i-th candidate of an invented but plausible search: few warps and shallow rings are slow, a
// wide split pays at depth, and every sixth or so fails in one of the ways candidates fail.
inline AttemptRecord searched(int i, const std::string& step_key) {
  constexpr int kWarps[] = {4, 8, 16}, kSplit[] = {1, 2, 4, 8}, kRing[] = {2, 3, 4, 6};
  constexpr int kWidth[] = {8, 16, 32, 64};
  const auto pick = [&](const auto& of, int salt) {
    return of[static_cast<size_t>(scattered(i, salt) * static_cast<double>(std::size(of)))];
  };
  AttemptRecord a = step_attempt(step_key);
  a.kernel = i % 3 ? "hip.grouped_stage1.stream" : "hip.grouped_stage1.mma";
  const int warps = pick(kWarps, 1), split = pick(kSplit, 2), ring = pick(kRing, 3);
  const int width = pick(kWidth, 4);
  a.tile.axes = {{"warps", warps}, {"split", split}, {"ring", ring}, {"width", width}};
  const double us = 40 + 30.0 / warps + 12.0 / ring + 4 * std::abs(split - 4) +
                    0.5 * std::abs(width - 32) + (i % 3 ? 0 : 6) + 2 * scattered(i, 5);
  a.outcome = verified_outcome(us);
  a.outcome.samples_us.resize(6);
  a.floor_us = 36;
  constexpr Status kEnds[] = {Status::illegal, Status::wrong, Status::compile_failed,
                              Status::timed_out};
  if (scattered(i, 6) < 0.17) {
    a.outcome = {.status = pick(kEnds, 7), .reason = "", .accuracy = {}, .samples_us = {}};
    a.outcome.reason = a.outcome.status == Status::illegal ? "split=8 does not divide 4 warps"
                                                           : "y[3,17] = nan, expected 0.25";
  }
  return a;
}

// `attempts` candidates over a few steps, in the order of a search. Commits wait for no disk: ten
// thousand of them are made in a second, and the file is thrown away.
inline void add_search(SyntheticStudy& s, int attempts, int steps = 4) {
  s.store.database().exec("PRAGMA synchronous = OFF");
  for (int i = 0; i < attempts; ++i) {
    const std::string key = "grouped_stage1 tokens=" + std::to_string(1 << (2 * (i % steps))) +
                            " hidden=2048 intermediate=512 experts=512 dtype=bf16";
    const AttemptRecord a = searched(i, key);
    record(s.store, s.study, s.environment, a, a.outcome);
  }
}

}  // namespace fse::test
