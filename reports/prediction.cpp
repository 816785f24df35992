#include "reports/prediction.h"

#include <fmt/format.h>

#include <cmath>

#include "core/plan.h"
#include "core/routing_prior.h"
#include "core/uncertainty.h"
#include "reports/table.h"

namespace fse {

namespace {

const DeviceInfo* device_of(const ReportData& data, const Case& c) {
  for (const Environment& e : data.environments)
    if (e.device.name == c.device) return &e.device;
  return nullptr;
}

// Signed errors of one way to run the shared expert, in percent.
struct Errors {
  std::vector<double> all;
  double worst = 0;
  std::string worst_at;

  void add(double error, const std::string& at) {
    all.push_back(error);
    if (std::fabs(error) <= std::fabs(worst)) return;
    worst = error;
    worst_at = at;
  }
  double mean() const {
    double sum = 0;
    for (const double e : all) sum += std::fabs(e);
    return sum / static_cast<double>(all.size());
  }
};

Errors errors_of(const ReportData& data, const Series& series, Shared shared, const Varying& say) {
  Errors errors;
  for (const WorkloadResult& w : series.workloads)
    for (const VariantResult& v : w.variants) {
      if (!v.layer || v.record.spec.variant.shared != shared) continue;
      const auto predicted = predict(data, v.record.spec);
      if (predicted)
        errors.add(100 * (predicted->us / v.layer->time_us.median - 1),
                   fmt::format("{} at tokens={}", label(v.record.spec.variant, say), w.tokens));
    }
  return errors;
}

}  // namespace

LayerPrediction predict(const Case& c, const DeviceInfo& device, const DeviceModel& model) {
  const LayerPlan plan = make_plan(c, device);
  const RoutingPrior prior = prior_of(c.routing, c.layer.routing);
  const auto us = [&](const DeviceModel& d) { return layer_us(plan, d, prior); };
  const Interval interval = time_interval(model, us);
  return {.us = us(model),
          .low_us = interval.low,
          .high_us = interval.high,
          .steps = layer_cost(plan, model, prior)};
}

std::optional<LayerPrediction> predict(const ReportData& data, const Case& c) {
  const auto model = data.models.find(c.device);
  const DeviceInfo* device = device_of(data, c);
  const bool drawn =
      c.routing.kind == RoutingKind::dirichlet || c.routing.kind == RoutingKind::trace;
  if (model == data.models.end() || device == nullptr || drawn) return {};
  LayerPrediction predicted = predict(c, *device, model->second);
  if (!(predicted.us > 0)) return {};  // the model lacks a number that this layer needs
  return predicted;
}

std::string prediction_section(const ReportData& data, const Varying& say) {
  Table table{
      {"<workload", "<shared expert as", "layers", "mean error %", "worst error %", "<worst at"},
      {}};
  for (const Series& series : data.series)
    for (const auto& [shared, name] : kNames<Shared>) {
      const Errors errors = errors_of(data, series, shared, say);
      if (errors.all.empty()) continue;
      table.rows.push_back({short_name(series.common, say), std::string(name),
                            std::to_string(errors.all.size()), number(errors.mean(), 1),
                            signed_number(errors.worst, 1), errors.worst_at});
    }
  if (table.rows.empty()) return "";
  return fmt::format(
      "## Prediction beside measurement\n\nWhat the cost model says of every measured layer from "
      "its "
      "plan and the numbers of configs/devices alone. Above 0: predicted slower than "
      "measured.\n\n{}\n",
      to_markdown(table));
}

}  // namespace fse
