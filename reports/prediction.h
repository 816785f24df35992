#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/layer_cost.h"
#include "reports/labels.h"

namespace fse {

// What the cost model says of a case from its plan and the device's numbers, without running it.
struct LayerPrediction {
  double us = 0, low_us = 0, high_us = 0;  // 90 % interval
  std::vector<StepCost> steps;
};
LayerPrediction predict(const Case&, const DeviceInfo&, const DeviceModel&);
// Nothing where the report knows no model of the device, or the study's own draw decides the loads:
// dirichlet and trace.
std::optional<LayerPrediction> predict(const ReportData&, const Case&);

// How far predictions are off, by workload: a chapter. "" where nothing can be predicted.
std::string prediction_section(const ReportData&, const Varying&);

}  // namespace fse
