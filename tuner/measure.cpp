#include "tuner/measure.h"

#include <chrono>
#include <numeric>

#include "core/error.h"
#include "core/rng.h"
#include "core/statistics.h"

namespace fse {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool precise(const LayerMeasurement& measurement, double interval) {
  if (measurement.failure) return true;
  const Summary s = summarize(measurement.layer_us);
  return s.hi - s.median <= interval * s.median && s.median - s.lo <= interval * s.median;
}

void append(LayerMeasurement& measurement, const RunTimes& times) {
  measurement.layer_us.push_back(times.layer_us);
  for (size_t i = 0; i < times.step_us.size(); ++i)
    measurement.step_us[i].push_back(times.step_us[i]);
}

void run_once(const Contestant& c, int round, int set, LayerMeasurement& measurement) {
  if (measurement.failure) return;
  try {
    append(measurement, c.layer->run(c.choices, round, set));
  } catch (const AttemptError& error) {
    if (error.device_lost) throw;
    measurement.failure = Outcome{.status = error.status, .reason = error.what()};
  }
}

}  // namespace

std::vector<LayerMeasurement> measure_layers(std::span<const Contestant> contestants,
                                             const MeasureSpec& spec, uint64_t seed,
                                             const std::function<bool()>& stop) {
  std::vector<LayerMeasurement> results(contestants.size());
  for (size_t i = 0; i < contestants.size(); ++i)
    results[i].step_us.resize(contestants[i].choices.size());
  Rng rng(seed);
  const Clock::time_point start = Clock::now();
  const double limit = spec.max_seconds * static_cast<double>(contestants.size());
  std::vector<size_t> order(contestants.size());
  std::iota(order.begin(), order.end(), size_t{0});
  int set = 0;
  for (int round = 0;; ++round) {
    if (stop()) throw Error(ErrorKind::incomplete, "stopped while measuring");
    shuffle(order, rng);
    for (size_t i : order) run_once(contestants[i], round, set++, results[i]);
    constexpr int kFewest = 6;  // below that no 95 % interval of a median exists
    if (round + 1 < kFewest) continue;
    if (round + 1 < spec.min_rounds) continue;
    if (seconds_since(start) > limit) return results;
    const bool done = std::all_of(results.begin(), results.end(), [&](const auto& result) {
      return precise(result, spec.interval);
    });
    if (done) return results;
  }
}

std::vector<Load> realised_loads(const Contestant& c, int inputs) {
  std::vector<Load> loads;
  for (int i = 0; i < inputs; ++i) loads.push_back(c.layer->load(c.choices, i));
  return loads;
}

}  // namespace fse
