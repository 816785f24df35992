#pragma once
#include <string>

#include "reports/labels.h"

namespace fse {

// What became of the fastest variant after its race: measured again in a fresh process, beside its
// baseline, with what winning had made it look better by; and the tiles that it has for the whole
// layer's sake. "" where neither was recorded.
std::string selection_text(const WorkloadResult&, const Varying&, double delta);

}  // namespace fse
