#pragma once
#include <string>

#include "reports/report.h"

namespace fse {

// The whole report for machines: reports/report.schema.json describes it.
std::string to_json(const Store&, const ReportData&);

}  // namespace fse
