#pragma once
#include <filesystem>
#include <string>

#include "reports/report.h"

namespace fse {

// Where the page's parts lie: page/ and charts/ in `reports`; `libraries` is the script that draws
// charts, in a build with npm. Without it the page has its tables only, and says so.
struct PageParts {
  std::filesystem::path reports, libraries;
};

// One file that needs nothing else: data, style, script and charts inlined.
std::string to_html(const Store&, const ReportData&, const PageParts&);

}  // namespace fse
