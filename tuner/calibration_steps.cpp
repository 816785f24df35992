#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <utility>

#include "core/layer_cost.h"
#include "tuner/calibration.h"
#include "tuner/calibration_values.h"
#include "tuner/calibration_ways.h"

namespace fse {
namespace {

const LayerPoint* find_point(const Calibration& c, const DeviceInfo& info, const Way& way,
                             DType dtype = DType::bf16, int tokens = 1,
                             int experts = kCalibratedExperts) {
  for (const LayerPoint& p : c.layers)
    if (p.variant == variant_of(way, info) && p.dtype == dtype && p.tokens == tokens &&
        p.experts == experts)
      return &p;
  return nullptr;
}

double early_us(const DeviceModel& d, const DeviceInfo& info) {
  if (!info.graph) return d.stream_us;
  return d.dependent_us > 0 ? d.dependent_us : d.launch_us;
}

// The argument, from 0 to `most`, for which a function that grows with it is 0.
double zero_of(const std::function<double(double)>& f, double most) {
  double low = 0, high = most;
  if (f(low) >= 0) return 0;
  for (int i = 0; i < 50; ++i) (f((low + high) / 2) < 0 ? low : high) = (low + high) / 2;
  return high;
}

// Numbers from layers that are there; each step uses those of the ones before.
class Derivation {
 public:
  Derivation(const DeviceInfo& info, const CalibrationSpec& spec, Calibration& c)
      : info_(info), spec_(spec), c_(c), device_(model_of(c, info)) {}

  bool possible() const {
    return point(kUnfused) && point(kSeparate) && point(kMlp) && point(kSlot);
  }

  // From 1 to 64 tokens an fp8 layer takes so much longer than its bytes do and its widening.
  void add_fp8_tile() {
    const LayerPoint *one = point(kSlot, DType::fp8_block128),
                     *many = point(kSlot, DType::fp8_block128, 64);
    if (one == nullptr || many == nullptr) return;
    const auto beyond = [&](double us) {
      DeviceModel d = device_;
      d.fp8_tile_us = us;
      return busy_us(*many, d, info_, spec_) - busy_us(*one, d, info_, spec_) -
             (many->us.median - one->us.median);
    };
    const double us = zero_of(beyond, 10);
    const double share = (many->us.hi - many->us.lo + one->us.hi - one->us.lo) /
                         (2 * (many->us.median - one->us.median));
    set("fp8_tile_us",
        {.median = us, .lo = us * (1 - share), .hi = us * (1 + share), .n = many->us.n},
        "a layer of 64 tokens with fp8 weights, less one of one token, their bytes and widening");
  }

  // Four small steps: what the unfused top-k and the gate apart have more. Two products and one
  // small step: the MLP. A product, three small steps and two stages: a layer with a slot.
  void add_ramps() {
    const Summary mlp = fixed(kMlp, 9), slot = fixed(kSlot, 6);
    const Summary touch = scaled(difference(fixed(kUnfused, 13), mlp), 0.25);
    const Summary ramp = scaled(difference(difference(mlp, slot), touch), 0.5);
    const Summary others = sum(ramp, scaled(touch, 3));
    set("touch_us", touch,
        "a layer with top-k in four launches and the gate apart, less one with both fused");
    set("ramp_us", ramp, "a layer with an MLP, less one with a slot and a small step, half");
    set("stage_us", scaled(difference(slot, others), 0.5),
        "what is left of a layer with a slot, half");
    if (point(kSlot, DType::fp8_block128) != nullptr)
      set("stage_fp8_us", scaled(difference(fixed(kSlot, 6, DType::fp8_block128), others), 0.5),
          "the same with fp8 weights");
  }

  // The slot's layer looks at all experts in two steps; the unfused top-k in three, with dispatch.
  void add_experts() {
    const auto beyond = [&](const Way& way, int launches) -> std::optional<Summary> {
      const LayerPoint* many = find_point(c_, info_, way, DType::bf16, 1, kManyExperts);
      if (many == nullptr) return std::nullopt;
      const double rest =
          busy_us(*many, device_, info_, spec_) + launches * early_us(device_, info_);
      return difference(shifted(many->us, -rest), fixed(way, launches));
    };
    const auto slot = beyond(kSlot, 6), unfused = beyond(kUnfused, 13);
    if (!slot || !unfused) return;
    const double times = kManyExperts / kCalibratedExperts - 1;
    set("experts_us", scaled(sum(*slot, *unfused), 1 / (5 * times)),
        "two layers with 512 experts, less the same with 128; a fifth of it, per 128");
  }

  void add_fused() {
    for (const auto& [dtype, field] :
         {std::pair{DType::bf16, "fused_us"}, std::pair{DType::fp8_block128, "fused_fp8_us"}}) {
      const LayerPoint* layer = point(kOneLaunch, dtype);
      if (layer == nullptr) continue;
      const double rest = busy_us(*layer, device_, info_, spec_) + device_.launch_us;
      set(field, at_least_0(shifted(layer->us, -rest)),
          "a layer in one launch, less it and its bytes");
    }
  }

  // What a launch takes longer that cannot begin early, so that the overlapped layer is by as much
  // faster than the other as it was measured to be.
  void add_plain() {
    const LayerPoint *side = point(kOverlapped), *serial = point(kMlp);
    if (side == nullptr || device_.dependent_us <= 0) return;
    const LayerPlan a = plan_of(*side, info_, spec_), b = plan_of(*serial, info_, spec_);
    const auto beyond = [&](double plain_us) {
      DeviceModel d = device_;
      d.plain_us = std::max(plain_us, 1e-6);  // 0: not known
      return end_us(layer_cost(a, d, realised_batch(d, side->load))) -
             end_us(layer_cost(b, d, realised_batch(d, serial->load))) -
             (side->us.median - serial->us.median);
    };
    const double us = zero_of(beyond, 20);
    const double half = std::hypot(side->us.hi - side->us.lo, serial->us.hi - serial->us.lo) / 8;
    set("plain_us",
        {.median = us, .lo = std::max(0.0, us - half), .hi = us + half, .n = side->us.n},
        "a layer with its MLP on a second stream, by the cost model: its launches at the streams' "
        "edges cannot begin early");
  }

  void add_busy() {
    for (LayerPoint& p : c_.layers) p.busy_us = busy_us(p, device_, info_, spec_);
  }

 private:
  const LayerPoint* point(const Way& way, DType dtype = DType::bf16, int tokens = 1) const {
    return find_point(c_, info_, way, dtype, tokens);
  }
  // Beyond its bytes and launches.
  Summary fixed(const Way& way, int launches, DType dtype = DType::bf16) const {
    const LayerPoint& p = *point(way, dtype);
    return shifted(p.us, -busy_us(p, device_, info_, spec_) - launches * early_us(device_, info_));
  }
  void set(const std::string& field, const Summary& us, const std::string& how) {
    c_.set({field, us, how});
    device_ = model_of(c_, info_);
  }

  const DeviceInfo& info_;
  const CalibrationSpec& spec_;
  Calibration& c_;
  DeviceModel device_;
};

}  // namespace

void derive_steps(const DeviceInfo& info, const CalibrationSpec& spec, Calibration& c) {
  Derivation derivation(info, spec, c);
  if (!derivation.possible()) return;
  derivation.add_fp8_tile();
  derivation.add_ramps();
  derivation.add_experts();
  derivation.add_fused();
  derivation.add_plain();
  derivation.add_busy();
}

}  // namespace fse
