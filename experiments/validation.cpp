#include "experiments/validation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/kernel_cost.h"
#include "core/model_import.h"
#include "core/serving_model.h"
#include "core/uncertainty.h"
#include "core/what_if.h"
#include "experiments/device_reader.h"
#include "experiments/framework_reader.h"
#include "experiments/kernel_table.h"
#include "experiments/score_layers.h"

namespace fse {
namespace {

namespace fs = std::filesystem;

std::vector<Prediction> values_of(const std::vector<ScoredRow>& rows) {
  std::vector<Prediction> values;
  for (const ScoredRow& row : rows) values.push_back(row.value);
  return values;
}

double kernel_us(const KernelRow& row, const DeviceModel& device) {
  return grouped_us(row.layer, make_shard(row.layer, 1, 0), device, {}, 0, row.tokens,
                    library_tiles(row.scales));
}

bool belongs(const KernelRow& row, const Split& split) {
  for (const auto& [column, value] : split.where) {
    const auto cell = row.cells.find(column);
    if (cell == row.cells.end())
      fail_usage(fmt::format("split {}: {} has no column '{}'", split.name, split.table, column));
    if (cell->second != value) return false;
  }
  return true;
}

// What the slot costs: negative where the row with it is slower.
void score_slot(const KernelRow& row, const std::vector<KernelRow>& table,
                const DeviceModel& device, SplitScore& score) {
  const KernelRow* without = without_slot(table, row);
  if (without == nullptr) return;
  const auto gain = [&](const DeviceModel& d) {
    return (kernel_us(*without, d) / kernel_us(row, d) - 1) * 100;
  };
  const double centre = gain(device);
  const double half = std::hypot(spread_of(device, gain), 4);  // both rows' tiles, at 3 % each
  score.gains.push_back({.what = fmt::format("tokens={} slot", row.tokens),
                         .value = {.predicted = centre,
                                   .measured = (without->us / row.us - 1) * 100,
                                   .interval = {centre - half, centre + half}},
                         .kind = row.cells.at("inter_dim"),
                         .size = double{1} * row.tokens});
}

SplitScore score_kernels(const Split& split, const fs::path& folder, const fs::path& configs,
                         const std::vector<std::string>& what_if) {
  DeviceModel device = find_device_model(split.device, configs);
  FrameworkModel unused;
  apply_what_if(what_if, device, unused);
  const std::vector<KernelRow> table = read_kernel_table(folder / split.table);
  SplitScore score{.split = split, .unit = "us"};
  for (const KernelRow& row : table) {
    if (!belongs(row, split)) continue;
    if (!row.doubt.empty()) {
      ++score.doubtful;
      continue;
    }
    const double us = kernel_us(row, device);
    score.values.push_back(
        {fmt::format("hidden={} intermediate={} experts={} tokens={}", row.layer.hidden,
                     row.layer.intermediate, row.layer.routing.experts, row.tokens),
         {.predicted = us,
          .measured = row.us,
          .interval =
              time_interval(device, [&](const DeviceModel& d) { return kernel_us(row, d); })}});
    score_slot(row, table, device, score);
  }
  return score;
}

bool belongs(const ServingRow& row, const Split& split) {
  for (const auto& [column, value] : split.where) {
    if (column != "tp" && column != "concurrency")
      fail_usage(fmt::format("split {}: where.{}, expected tp or concurrency", split.name, column));
    if (value != std::to_string(column == "tp" ? row.tp : row.concurrency)) return false;
  }
  return true;
}

class StudyScorer {
 public:
  StudyScorer(const ServingStudy& study, const fs::path& folder, const fs::path& configs,
              const std::vector<std::string>& what_if)
      : study_(study),
        device_(find_device_model(study.device, configs)),
        framework_(find_framework(study.framework, configs)),
        layer_(find_model(study.model, configs).layer),
        shape_(read_model_shape(configs / "models" / (study.model + ".json"))) {
    layer_.dtype = study.dtype;
    apply_what_if(what_if, device_, framework_);
    for (const std::string& table : study.tables) {
      const auto rows = tuned_rows(read_kernel_table(folder / table), device_.compute_units);
      tuned_.insert(tuned_.end(), rows.begin(), rows.end());
    }
  }

  void add(const ServingRow& row, SplitScore& score) const {
    const ServingCase off = case_of(row, study_.off), on = case_of(row, study_.on);
    const ServingTimes times_off = simulate_serving(off, device_, framework_);
    const ServingTimes times_on = simulate_serving(on, device_, framework_);
    const std::string what = fmt::format("tp={} concurrency={}", row.tp, row.concurrency);
    add_value(what + " off", off, times_off, row.output_off, score);
    add_value(what + " on", on, times_on, row.output_on, score);
    if (row.tpot_off > 0) {
      score.tpots.push_back({what + " off", {times_off.tpot_mean_ms, row.tpot_off, {}}});
      score.tpots.push_back({what + " on", {times_on.tpot_mean_ms, row.tpot_on, {}}});
    }
    const double gain = gain_percent(times_on, times_off);
    score.gains.push_back({what,
                           {.predicted = gain,
                            .measured = (row.output_on / row.output_off - 1) * 100,
                            .interval = gain_interval(on, off, device_, framework_, gain)}});
  }

 private:
  ServingCase case_of(const ServingRow& row, const Variant& variant) const {
    return {.shape = shape_,
            .layer = layer_,
            .variant = variant,
            .tp = row.tp,
            .isl = row.isl,
            .osl = row.osl,
            .concurrency = row.concurrency,
            .prior = framework_.random_prompts,
            .scales = study_.scales,
            .prompts = row.prompts,
            .tuned = tuned_};
  }
  void add_value(const std::string& what, const ServingCase& c, const ServingTimes& times,
                 double measured, SplitScore& score) const {
    score.values.push_back(
        {what,
         {.predicted = times.output_tok_s,
          .measured = measured,
          .interval = output_interval(c, device_, framework_, times.output_tok_s)}});
  }

  const ServingStudy& study_;
  DeviceModel device_;
  FrameworkModel framework_;
  LayerSpec layer_;
  ModelShape shape_;
  std::vector<TunedRow> tuned_;
};

// A known gain is one of a fit split; the nearest is that of the nearest concurrency, by ratio.
struct KnownGain {
  int concurrency = 0;
  double gain = 0;
};

double nearest_gain(const std::vector<KnownGain>& known, int concurrency) {
  const auto distance = [&](const KnownGain& k) {
    return std::abs(std::log(double{1} * k.concurrency / concurrency));
  };
  return std::min_element(
             known.begin(), known.end(),
             [&](const KnownGain& a, const KnownGain& b) { return distance(a) < distance(b); })
      ->gain;
}

SplitScore score_steps(const Split& split, const ServingStudy& study,
                       const std::vector<KnownGain>& known, const fs::path& folder,
                       const fs::path& configs, const std::vector<std::string>& what_if) {
  const StudyScorer scorer(study, folder, configs, what_if);
  SplitScore score{.split = split, .unit = "tok/s"};
  for (const ServingRow& row : study.rows) {
    if (!belongs(row, split)) continue;
    scorer.add(row, score);
    if (!known.empty()) score.nearest.push_back(nearest_gain(known, row.concurrency));
  }
  return score;
}

template <class Study>
const Study& find_named(const std::vector<Study>& studies, const std::string& name) {
  return *std::find_if(studies.begin(), studies.end(),
                       [&](const Study& study) { return study.name == name; });
}

std::vector<KnownGain> known_gains(const ValidationSpec& spec) {
  std::vector<KnownGain> known;
  for (const Split& split : spec.splits) {
    if (split.use != "fit" || split.study.empty()) continue;
    for (const ServingRow& row : find_named(spec.studies, split.study).rows)
      if (belongs(row, split))
        known.push_back({row.concurrency, (row.output_on / row.output_off - 1) * 100});
  }
  return known;
}

}  // namespace

void copy_nearest_gains(SplitScore& score) {
  if (!score.nearest.empty() || score.gains.size() < 2) return;
  for (const ScoredRow& gain : score.gains) {
    const ScoredRow* nearest = nullptr;
    const auto distance = [&](const ScoredRow& other) {
      const double sizes = std::abs(std::log(other.size / gain.size));
      return sizes + (other.kind == gain.kind ? 0 : 100);
    };
    for (const ScoredRow& other : score.gains)
      if (&other != &gain && (!nearest || distance(other) < distance(*nearest))) nearest = &other;
    score.nearest.push_back(nearest->value.measured);
  }
}

ErrorSummary SplitScore::errors() const {
  return summarize_errors(values_of(values));
}

ErrorSummary SplitScore::tpot_errors() const {
  return summarize_errors(values_of(tpots));
}

GainSummary SplitScore::gain_errors() const {
  return summarize_gains(values_of(gains), nearest);
}

std::map<std::string, double> SplitScore::metrics() const {
  std::map<std::string, double> all{{"mape", errors().mean}};
  if (gains.empty()) return all;
  const GainSummary summary = gain_errors();
  all["gain_mean"] = summary.mean;
  all["gain_worst"] = summary.worst;
  all["coverage"] = summary.covered;
  if (summary.decided > 0) all["sign"] = summary.sign_right;
  return all;
}

std::vector<std::string> SplitScore::broken() const {
  std::vector<std::string> all;
  const std::map<std::string, double> reached = metrics();
  for (const auto& [metric, limit] : split.limit) {
    const auto found = reached.find(metric);
    const double value = found == reached.end() ? std::nan("") : found->second;
    if (at_most(metric) ? value <= limit : value >= limit) continue;
    all.push_back(fmt::format("{}: {} is {:.1f}, expected at {} {}", split.name, metric, value,
                              at_most(metric) ? "most" : "least", limit));
  }
  return all;
}

std::vector<SplitScore> score_splits(const ValidationSpec& spec, const fs::path& folder,
                                     const fs::path& configs,
                                     const std::vector<std::string>& what_if) {
  const std::vector<KnownGain> known = known_gains(spec);
  std::vector<SplitScore> scores;
  for (const Split& split : spec.splits) {
    if (!split.layers.empty()) {
      scores.push_back(
          score_layers(split, find_named(spec.layers, split.layers), configs, what_if));
      continue;
    }
    scores.push_back(split.study.empty() ? score_kernels(split, folder, configs, what_if)
                                         : score_steps(split, find_named(spec.studies, split.study),
                                                       known, folder, configs, what_if));
    if (scores.back().values.empty())
      fail_usage(fmt::format("split {}: no row is where it says", split.name));
  }
  for (SplitScore& score : scores) copy_nearest_gains(score);
  return scores;
}

}  // namespace fse
