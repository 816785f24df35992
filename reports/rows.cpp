#include "reports/rows.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/store_error.h"
#include "reports/labels.h"
#include "reports/prediction.h"
#include "reports/rival_rows.h"

namespace fse {

namespace {

template <class F>
void for_each_variant(const ReportData& data, F visit) {
  for (const Series& series : data.series)
    for (const WorkloadResult& workload : series.workloads)
      for (const VariantResult& v : workload.variants) visit(series, workload, v);
}

std::vector<Cell> case_cells(const std::string& workload, const CaseRecord& record,
                             const Varying& say) {
  const Case& c = record.spec;
  return {workload,
          c.layer.model,
          to_name(c.layer.dtype),
          to_name(c.layer.activations),
          int64_t{c.tp},
          int64_t{c.tokens},
          to_text(c.routing),
          to_name(c.cache),
          c.device,
          static_cast<int64_t>(c.seed),
          label(c.variant, say),
          to_name(c.variant.gate),
          to_name(c.variant.topk),
          to_name(c.variant.shared),
          to_name(c.variant.experts),
          to_name(c.variant.launch),
          int64_t{record.baseline},
          to_name(record.state),
          record.reason};
}

void add_time(std::vector<Cell>& row, const AttemptRecord& a) {
  const Accuracy& accuracy = a.outcome.accuracy;
  row.insert(row.end(),
             {cell(a.time_us.median), cell(a.time_us.lo), cell(a.time_us.hi), a.time_us.n,
              cell(a.floor_us), cell(a.floor_us > 0 ? a.time_us.median / a.floor_us : NAN),
              cell(accuracy.rel_frobenius), cell(accuracy.worst), cell(accuracy.bound), a.id});
}

void add_comparison(std::vector<Cell>& row, const WorkloadResult& w, const VariantResult& v,
                    const Varying& say) {
  const VariantResult* baseline = w.baseline_of(v);
  if (!v.layer || !baseline || !baseline->layer) {
    row.insert(row.end(), 9, Cell{});
    if (v.record.baseline) row[row.size() - 9] = std::string("itself");
    return;
  }
  const Comparison& c = v.comparison;
  row.insert(row.end(),
             {label(baseline->record.spec.variant, say), cell(baseline->layer->time_us.median),
              cell(100 * (c.ratio.median - 1)), cell(100 * (c.ratio.lo - 1)),
              cell(100 * (c.ratio.hi - 1)), cell(c.difference.median), cell(c.p_holm),
              to_name(c.verdict), std::string(v.paired ? "rounds" : "intervals")});
}

// Of what was measured: beside it.
void add_prediction(std::vector<Cell>& row, const ReportData& data, const VariantResult& v) {
  const auto predicted = v.layer ? predict(data, v.record.spec) : std::nullopt;
  if (predicted)
    row.insert(row.end(), {cell(predicted->us), cell(predicted->low_us), cell(predicted->high_us)});
  else
    row.insert(row.end(), 3, Cell{});
}

double predicted_step_us(const std::optional<LayerPrediction>& prediction,
                         const std::string& step) {
  if (prediction)
    for (const StepCost& s : prediction->steps)
      if (s.name == step) return s.end_us - s.start_us;
  return NAN;
}

}  // namespace

Grid result_rows(const ReportData& data) {
  Grid grid{
      .columns = {"workload",      "model",          "dtype",       "activations",  "tp",
                  "tokens",        "routing",        "cache",       "device",       "seed",
                  "variant",       "gate",           "topk",        "shared",       "experts",
                  "launch",        "is_baseline",    "state",       "reason",       "layer_time_us",
                  "lo_us",         "hi_us",          "n",           "floor_us",     "x_floor",
                  "rel_frobenius", "worst",          "bound",       "attempt",      "baseline",
                  "baseline_us",   "change_percent", "change_lo",   "change_hi",    "change_us",
                  "p_holm",        "verdict",        "compared_by", "predicted_us", "predicted_low",
                  "predicted_high"},
      .rows = {}};
  const Varying say = varying(data);
  for_each_variant(data,
                   [&](const Series& series, const WorkloadResult& w, const VariantResult& v) {
                     std::vector<Cell> row = case_cells(plain_name(series.common), v.record, say);
                     if (v.layer)
                       add_time(row, *v.layer);
                     else
                       row.insert(row.end(), 10, Cell{});
                     add_comparison(row, w, v, say);
                     add_prediction(row, data, v);
                     grid.rows.push_back(std::move(row));
                   });
  return grid;
}

Grid step_rows(const ReportData& data) {
  Grid grid{.columns = {"workload", "tokens", "variant", "attempt", "step", "op", "kernel", "tile",
                        "time_us", "lo_us", "hi_us", "bytes", "flops", "floor_us", "predicted_us"},
            .rows = {}};
  for (const std::string& name : rival_columns()) grid.columns.push_back(name);
  const Varying say = varying(data);
  for_each_variant(
      data, [&](const Series& series, const WorkloadResult& w, const VariantResult& v) {
        if (!v.layer) return;
        const auto predicted = predict(data, v.record.spec);
        for (size_t i = 0; i < v.layer->steps.size(); ++i) {
          const StepTime& s = v.layer->steps[i];
          grid.rows.push_back({plain_name(series.common), int64_t{w.tokens},
                               label(v.record.spec.variant, say), v.layer->id, s.step, s.op,
                               s.kernel, to_text(s.tile), cell(s.time_us.median),
                               cell(s.time_us.lo), cell(s.time_us.hi), cell(s.bytes), cell(s.flops),
                               cell(s.floor_us), cell(predicted_step_us(predicted, s.step))});
          const auto rival = rival_cells(v.rivals.size() > i ? v.rivals[i] : std::nullopt);
          grid.rows.back().insert(grid.rows.back().end(), rival.begin(), rival.end());
        }
      });
  return grid;
}

Grid duel_rows(const ReportData& data) {
  Grid grid{.columns = {"workload", "tokens", "slot", "attempt", "slot_us", "other",
                        "other_attempt", "other_us", "change_percent", "change_lo", "change_hi",
                        "change_us", "p_holm", "verdict", "compared_by", "rel_frobenius", "bound",
                        "steps_attempt", "other_steps_attempt"},
            .rows = {}};
  const Varying say = varying(data);
  for (const Series& series : data.series)
    for (const WorkloadResult& w : series.workloads) {
      if (!w.duel) continue;
      const VariantResult &slot = w.variants[w.duel->slot], &other = w.variants[w.duel->other];
      const Comparison& c = w.duel->comparison;
      grid.rows.push_back(
          {plain_name(series.common), int64_t{w.tokens}, label(slot.record.spec.variant, say),
           slot.layer->id, cell(slot.layer->time_us.median), label(other.record.spec.variant, say),
           other.layer->id, cell(other.layer->time_us.median), cell(100 * (c.ratio.median - 1)),
           cell(100 * (c.ratio.lo - 1)), cell(100 * (c.ratio.hi - 1)), cell(c.difference.median),
           cell(c.p_holm), to_name(c.verdict), std::string(w.duel->paired ? "rounds" : "intervals"),
           cell(slot.layer->outcome.accuracy.rel_frobenius),
           cell(slot.layer->outcome.accuracy.bound), w.variants[w.duel->slot_steps].layer->id,
           w.variants[w.duel->other_steps].layer->id});
    }
  return grid;
}

Grid load_rows(const ReportData& data) {
  Grid grid{.columns = {"workload", "tokens", "expert", "rows", "kind", "experts"}, .rows = {}};
  for (const Series& series : data.series)
    for (const WorkloadResult& w : series.workloads) {
      const VariantResult* fastest = w.fastest();
      if (!fastest) continue;
      const auto& rows = fastest->layer->load_histogram;
      const auto routed = static_cast<size_t>(series.common.layer.routing.experts);
      for (size_t e = 0; e < rows.size(); ++e)
        if (rows[e] > 0)
          grid.rows.push_back(
              {plain_name(series.common), int64_t{w.tokens}, static_cast<int64_t>(e), rows[e],
               std::string(e < routed ? "routed" : "slot"), static_cast<int64_t>(rows.size())});
    }
  return grid;
}

Grid environment_rows(const ReportData& data) {
  Grid grid{.columns = {"device", "arch", "product", "compute_units", "llc_bytes", "read_gbs",
                        "peak_gflops", "compiler", "git_revision", "host_os"},
            .rows = {}};
  for (const Environment& e : data.environments)
    grid.rows.push_back({e.device.name, e.device.arch, e.device.product,
                         int64_t{e.device.compute_units}, e.device.llc_bytes, cell(e.read_gbs),
                         cell(e.peak_gflops), e.compiler, e.git_revision, e.host_os});
  return grid;
}

Grid ceiling_rows(const ReportData& data) {
  Grid grid{.columns = {"device", "kind", "what", "value", "unit", "source"}, .rows = {}};
  for (const Ceiling& c : data.ceilings)
    grid.rows.push_back({c.device, c.kind, c.what, cell(c.value), c.unit, c.source});
  return grid;
}

Grid failure_rows(const ReportData& data) {
  Grid grid{.columns = {"status", "level", "kernel", "attempts", "reason"}, .rows = {}};
  for (const Store::FailureCount& f : data.failure_counts)
    grid.rows.push_back({f.status, f.level, f.kernel, f.attempts, f.reason});
  return grid;
}

Grid tile_rows(const Store& store, const ReportData& data, int64_t most) {
  try {
    SQLite::Statement count(store.database(),
                            "SELECT count(*) FROM attempt WHERE study = ? AND level = 'step'");
    count.bind(1, data.study_id);
    count.executeStep();
    const int64_t stride = std::max<int64_t>(1, (count.getColumn(0).getInt64() + most - 1) / most);
    SQLite::Statement q(store.database(),
                        fmt::format("SELECT id AS attempt, step_key, kernel, tile, status, "
                                    "median_us AS time_us FROM attempt WHERE study = ? AND "
                                    "level = 'step' AND id % {} = 0 ORDER BY id",
                                    stride));
    q.bind(1, data.study_id);
    return read_grid(q);
  } catch (const SQLite::Exception& e) {
    throw_store_error(e, store.file(), "reading tiles");
  }
}

}  // namespace fse
