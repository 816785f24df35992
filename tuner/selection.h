#pragma once
#include <string>

#include "core/store.h"

namespace fse {

// A bandwidth above this share of the device's is not one: what was timed did less than it should.
inline constexpr double kMostOfPeak = 1.02;

// Why a layer's measurement cannot be believed although its result is right; "" where it can: a
// sample that is not above 0; memory read faster than the device can, where the rotation makes sure
// that it is memory; every sample equal to those of another token count (`twins`: such attempts).
// Ceilings are as measured: raise them before a layer is blamed.
std::string suspicion(const AttemptRecord& layer, Cache cache,
                      const std::vector<AttemptRecord>& twins);
// Whether only the bandwidth is in doubt: measuring the ceiling again may clear it.
bool beats_memory(const AttemptRecord& layer, Cache cache);

}  // namespace fse
