#pragma once
#include "core/device_model.h"
#include "experiments/sweep.h"

namespace fse {

// What a plan may do on a device model: dtypes it has, graphs, the layer in one launch on GPUs.
DeviceInfo info_of(const DeviceModel&);

// Predicts the layer time of every case of a sweep without `serving`, one row per case, with the
// gain over the baseline of its workload.
void simulate_layers(const SweepSpec&, const DeviceModel&, const std::filesystem::path& configs,
                     bool json);

}  // namespace fse
