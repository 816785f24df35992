#pragma once
#include <string>

#include "reports/labels.h"

namespace fse {

// Every variant's layer time, and where the microseconds go, for one token count; `delta` is the
// effect threshold of verdicts.
std::string workload_section(const WorkloadResult&, const Varying&, double delta);

// From which token count the shared expert as a slot pays: table and sentence. "" where a slot
// variant and its baseline were not measured at two token counts at least.
std::string break_even_section(const Series&, const Varying&);

// The cases of a series that have no number, alike ones together, with their reasons.
std::string unmeasured_section(const Series&, const Varying&);

}  // namespace fse
