#pragma once
#include <string>

#include "tuner/tune_spec.h"

namespace fse {

// Throws Error(usage) for a kernel, an axis or a value that the device's catalogue does not have: a
// restriction that restricts nothing would be believed.
void require_known_tiles(const TuneSpec&, const std::string& device_kind);

}  // namespace fse
