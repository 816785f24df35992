#pragma once
#include "tuner/exchange.h"

namespace fse {

// Rows no device can have measured are flagged: more bandwidth or arithmetic than the device has,
// no time at all, or the very time of another token count. Their figures are never dropped.
ForeignTable read_aiter(std::string_view text, const std::string& name);
std::string write_aiter(const ForeignTable&);

}  // namespace fse
