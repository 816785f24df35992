#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/store.h"

namespace fse {

// The winner of interleaved finals, sample i of all being of one round: of those that were
// measured, the smallest median ratio to the incumbent, which is the first of them; where that is
// equal, the smaller 90th percentile, then fewer registers, then the name. Nothing where none was
// measured.
std::optional<size_t> best_finalist(std::span<const AttemptRecord> finals);

// A bandwidth above this share of the device's is not one: what was timed did less than it should.
inline constexpr double kMostOfPeak = 1.02;

// Why a layer's measurement cannot be believed although its result is right; "" where it can: a
// sample that is not above 0; memory read faster than the device can, where the rotation makes sure
// that it is memory; every sample equal to those of another token count (`twins`: such attempts).
// The device can do what was measured or what its datasheet says (`sourced_gbs`, 0: not known),
// whichever is more; raise what was measured before a layer is blamed.
std::string suspicion(const AttemptRecord& layer, Cache cache, double sourced_gbs,
                      const std::vector<AttemptRecord>& twins);
// Whether only the bandwidth is in doubt: measuring the ceiling again may clear it.
bool beats_memory(const AttemptRecord& layer, Cache cache, double sourced_gbs);

}  // namespace fse
