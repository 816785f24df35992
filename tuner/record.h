#pragma once
#include <functional>
#include <span>

#include "tuner/recorded_step.h"
#include "tuner/workbench.h"

namespace fse {

struct RecordSpec {
  double seconds = 0;  // 0: until all are measured
  int samples = 7;     // at least 6, below which no 95 % interval of a median exists
  std::function<bool()> stop = [] { return false; };
  // Told how many of the first are wanted, before they are.
  std::function<void(size_t count)> before_compiling = [](size_t) {};
};

// What is recorded of a step: all of its choices or, where there are more than `most`, the default
// and a sample by seed, in their order.
std::vector<Choice> recorded_choices(std::span<const Choice> all, int most, uint64_t seed);
// Those of them that an earlier recording does not have.
std::vector<Choice> missing_choices(std::span<const Choice> chosen,
                                    const std::vector<RecordedTile>& before);

// Verified and timed, failures among them, as far as the time goes: what a search would have to
// choose from.
std::vector<RecordedTile> record_tiles(StepRunner&, std::span<const Choice> missing,
                                       const RecordSpec&);
// Tiles of several recordings as one, in the order of the choices.
std::vector<RecordedTile> in_order_of(std::span<const Choice> chosen,
                                      const std::vector<RecordedTile>& tiles);

}  // namespace fse
