#include <algorithm>

#include "reports/confirmation.h"
#include "reports/labels.h"
#include "reports/rows.h"

namespace fse {
namespace {

void add_change(std::vector<Cell>& row, const Comparison& c, bool is_compared) {
  if (!is_compared) return row.resize(row.size() + 4);
  row.insert(row.end(), {cell(100 * (c.ratio.median - 1)), cell(100 * (c.ratio.lo - 1)),
                         cell(100 * (c.ratio.hi - 1)), to_name(c.verdict)});
}

}  // namespace

Grid confirmation_rows(const ReportData& data) {
  Grid grid{.columns = {"workload",
                        "tokens",
                        "variant",
                        "attempt",
                        "confirm_us",
                        "lo_us",
                        "hi_us",
                        "n",
                        "layer_time_us",
                        "rel_frobenius",
                        "bound",
                        "baseline",
                        "baseline_attempt",
                        "change_percent",
                        "change_lo",
                        "change_hi",
                        "verdict",
                        "race_change_percent",
                        "race_change_lo",
                        "race_change_hi",
                        "race_verdict",
                        "tries",
                        "contradicts"},
            .rows = {}};
  const Varying say = varying(data);
  for (const Series& series : data.series)
    for (const WorkloadResult& w : series.workloads) {
      const auto c = confirmation_of(w, data.delta);
      if (!c) continue;
      const AttemptRecord& layer = *c->fastest->layer;
      std::vector<Cell> row{plain_name(series.common),
                            int64_t{w.tokens},
                            label(c->fastest->record.spec.variant, say),
                            layer.id,
                            cell(c->again.median),
                            cell(c->again.lo),
                            cell(c->again.hi),
                            c->again.n,
                            cell(layer.time_us.median),
                            cell(layer.outcome.accuracy.rel_frobenius),
                            cell(layer.outcome.accuracy.bound)};
      row.push_back(c->partner ? Cell{label(c->partner->record.spec.variant, say)} : Cell{});
      row.push_back(c->partner ? Cell{c->partner->layer->id} : Cell{});
      add_change(row, c->fresh, c->partner != nullptr);
      add_change(row, c->race, c->partner != nullptr);
      row.push_back(int64_t{std::max(layer.confirm_tries, 1)});
      row.push_back(int64_t{c->contradicts()});
      grid.rows.push_back(std::move(row));
    }
  return grid;
}

Grid joint_trial_rows(const ReportData& data) {
  Grid grid{
      .columns = {"workload", "tokens", "variant", "attempt", "step", "kernel", "tile",
                  "change_percent", "change_lo", "change_hi", "n", "taken", "status", "reason"},
      .rows = {}};
  const Varying say = varying(data);
  for (const Series& series : data.series)
    for (const WorkloadResult& w : series.workloads)
      for (const VariantResult& v : w.variants) {
        if (!v.layer) continue;
        for (const JointTrial& t : v.layer->trials)
          grid.rows.push_back({plain_name(series.common), int64_t{w.tokens},
                               label(v.record.spec.variant, say), v.layer->id, t.step, t.kernel,
                               to_text(t.tile), cell(100 * (t.ratio.median - 1)),
                               cell(100 * (t.ratio.lo - 1)), cell(100 * (t.ratio.hi - 1)),
                               t.ratio.n, int64_t{t.taken}, to_name(t.status), t.reason});
      }
  return grid;
}

}  // namespace fse
