#pragma once
#include <optional>
#include <string>

#include "core/statistics.h"
#include "core/store.h"

namespace fse {

// What the vendor's library and fselab's own kernels took for one step in the same finals: the
// fastest of the other side, against the kernel and tile that were asked about.
struct Rival {
  std::string kernel;  // is_library() of one of the two is true
  Tile tile;
  int64_t attempt = 0, chosen_attempt = 0;
  Summary time_us, chosen_us;
  Comparison comparison;  // chosen / rival: below 1, the chosen one is faster
};

// Nothing where the choice was in no finals, or no kernel of the other side was.
std::optional<Rival> find_rival(const Store&, const std::string& step_key,
                                const std::string& workload, int64_t environment,
                                const std::string& kernel, const Tile&);

// Of every step of a layer's attempt, parallel to its steps.
std::vector<std::optional<Rival>> find_rivals(const Store&, const Case&,
                                              const AttemptRecord& layer);

}  // namespace fse
