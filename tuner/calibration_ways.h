#pragma once
#include "tuner/calibration.h"

namespace fse {

// The ways to run a small layer that calibration compares.
inline constexpr int kManyExperts = 512;

struct Way {
  Gate gate;
  Topk topk;
  Shared shared;
  Experts experts = Experts::staged;
};
inline constexpr Way kUnfused{Gate::separate, Topk::unfused, Shared::mlp};
inline constexpr Way kSeparate{Gate::separate, Topk::fused, Shared::mlp};
inline constexpr Way kMlp{Gate::fused, Topk::fused, Shared::mlp};
inline constexpr Way kOverlapped{Gate::fused, Topk::fused, Shared::mlp_overlapped};
inline constexpr Way kSlot{Gate::fused, Topk::fused, Shared::slot};
inline constexpr Way kOneLaunch{Gate::fused, Topk::fused, Shared::slot, Experts::fused};

Variant variant_of(const Way&, const DeviceInfo&);
LayerSpec small_layer(const DeviceInfo&, const CalibrationSpec&, DType, int experts);
LayerPlan plan_of(const LayerPoint&, const DeviceInfo&, const CalibrationSpec&);
// Bytes and matrix work alone: no launch, no ramp.
double busy_us(const LayerPoint&, DeviceModel, const DeviceInfo&, const CalibrationSpec&);

}  // namespace fse
