#pragma once
#include <functional>
#include <span>
#include <vector>

#include "tuner/measure.h"

namespace fse {

struct Confirmed {
  std::vector<std::vector<double>> layer_us;  // [contestant][round]; none: nothing was learnt
  int tries = 0;                              // fresh processes that were asked
};

// Measures layers, which `race` measured before, once more in a fresh process: interleaved, each
// after untimed runs of its own, since a process that has just drawn weights and mapped memory is
// neither warm nor, on a busy machine, next in turn. `renew` makes the process fresh, or says that
// there is none. Where the answer contradicts the race, another process is asked, at most three in
// all: contestants that changed places, or one that takes twice as long. The last answer counts; of
// those that only took longer the shortest, since whatever else runs can only make it longer.
Confirmed confirm_layers(std::span<const Contestant>, std::span<const std::vector<double>> race,
                         const MeasureSpec&, uint64_t seed, const std::function<bool()>& renew,
                         const std::function<bool()>& stop);

}  // namespace fse
