#pragma once
#include "reports/grid.h"
#include "reports/report.h"

namespace fse {

// The report as flat rows: what CSV, JSON and the page show. reports/report.schema.json describes
// the columns; they are only ever added to.
Grid result_rows(const ReportData&);  // one per case, measured or not
Grid step_rows(const ReportData&);    // one per step of every measured layer
Grid duel_rows(const ReportData&);    // the fastest slot variant against the fastest other one
Grid load_rows(const ReportData&);    // rows per expert of the first round, by workload
Grid confirmation_rows(const ReportData&);  // the fastest of each workload in a fresh process
Grid joint_trial_rows(const ReportData&);   // layers that were tried with another tile for a step
Grid environment_rows(const ReportData&);   // where it was measured
Grid ceiling_rows(const ReportData&);       // what the devices can do at most, and who says so
Grid failure_rows(const ReportData&);       // attempts without a usable number, alike ones together
// Every tile tried for a step, in order; of more than `most` an evenly spaced part.
Grid tile_rows(const Store&, const ReportData&, int64_t most = 10'000);

}  // namespace fse
