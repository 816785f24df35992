#pragma once
#include <string>

#include "reports/report.h"

namespace fse {

// The comparison as GitHub Markdown: one headline sentence, a summary, a chapter per series, what
// has no number and why, and where the numbers come from. Reads well unrendered, too.
std::string to_markdown(const ReportData&);

// Its beginning only, for the end of a run: headline, summary, and what has no number.
std::string to_summary(const ReportData&);

// Only the headline: what is fastest, by how much, against what.
std::string headline_markdown(const ReportData&);

}  // namespace fse
