#pragma once
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "core/case.h"
#include "core/op.h"
#include "tuner/workbench.h"

namespace fse {

struct MeasureSpec {
  Cache cache = Cache::cold_weights;
  int min_rounds = 25;     // at least 6, below which no 95 % interval of a median exists
  double interval = 0.02;  // stop when the 95 % interval is within +- this share of the median
  double max_seconds = 3;  // per layer, after min_rounds; the interval reached is stored
};

// One variant in a race, and what executes each of its steps.
struct Contestant {
  LayerRunner* layer = nullptr;
  std::vector<Choice> choices;
};

struct LayerMeasurement {
  std::vector<double> layer_us;              // [round]
  std::vector<std::vector<double>> step_us;  // [step][round]
  std::optional<Outcome> failure;            // why it left the race; the others went on
};

// All contestants run every round on the same input, in an order shuffled by seed, each with the
// next weight set of the rotation: sample r of two contestants makes a pair, and a machine that
// drifts drifts for all. Ends when every interval is reached, or the time is up (never below 6
// rounds). Throws Error(incomplete) when `stop` says so between two rounds, and AttemptError where
// the device is lost.
std::vector<LayerMeasurement> measure_layers(std::span<const Contestant>, const MeasureSpec&,
                                             uint64_t seed, const std::function<bool()>& stop);

// What the router really chose for each of `inputs`: one untimed run each, which also warms up.
std::vector<Load> realised_loads(const Contestant&, int inputs);

}  // namespace fse
