#pragma once
#include <string>
#include <vector>

#include "core/serving_model.h"

namespace fse {

// What a change would do: NAME=VALUE sets a number of the device (launch_us=1.0) or of the
// framework (host_us, host_token_us, max_batched_tokens, zipf: the exponent of random prompts).
// NAME*=VALUE multiplies it. Throws Error(usage) for a name that is none and a value outside the
// number's range.
void apply_what_if(const std::vector<std::string>& changes, DeviceModel&, FrameworkModel&);

}  // namespace fse
