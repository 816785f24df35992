#include "tuner/confirm.h"

#include <chrono>
#include <optional>

#include "core/statistics.h"

namespace fse {
namespace {

using Samples = std::vector<std::vector<double>>;

// At least three runs, and 20 ms of them: after that a scheduler has made good for what the process
// took while it began.
void warm_up(const Contestant& c) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  for (int round = 0; round < 1000; ++round) {
    const std::chrono::duration<double> spent = Clock::now() - start;
    if (round >= 3 && spent.count() > 0.02) return;
    c.layer->run(c.choices, round % 2, round);  // there are two inputs at least
  }
}

// Nothing where a layer fails: the same would be asked for again, and no number is better than half
// of one.
std::optional<Samples> measured_once(std::span<const Contestant> contestants,
                                     const MeasureSpec& spec, uint64_t seed,
                                     const std::function<bool()>& stop) {
  try {
    for (const Contestant& c : contestants) warm_up(c);
  } catch (const AttemptError& error) {
    if (error.device_lost) throw;
    return {};
  }
  Samples all;
  for (LayerMeasurement& layer : measure_layers(contestants, spec, seed, stop)) {
    if (layer.failure) return {};
    all.push_back(std::move(layer.layer_us));
  }
  return all;
}

bool changed_places(const Samples& fresh, std::span<const std::vector<double>> race) {
  if (fresh.size() < 2) return false;
  return contradict(compare_paired(fresh[0], fresh[1]).verdict,
                    compare_paired(race[0], race[1]).verdict);
}

// How many times as long as in the race the slowest of them takes, in medians.
double stretch(const Samples& fresh, std::span<const std::vector<double>> race) {
  double most = 0;
  for (size_t i = 0; i < fresh.size(); ++i)
    most = std::max(most, median(fresh[i]) / median(race[i]));
  return most;
}

}  // namespace

Confirmed confirm_layers(std::span<const Contestant> contestants,
                         std::span<const std::vector<double>> race, const MeasureSpec& spec,
                         uint64_t seed, const std::function<bool()>& renew,
                         const std::function<bool()>& stop) {
  constexpr int kMostTries = 3;
  constexpr double kMuchLonger = 2;
  Confirmed confirmed;
  while (confirmed.tries < kMostTries && renew()) {
    ++confirmed.tries;
    auto fresh =
        measured_once(contestants, spec, seed + static_cast<uint64_t>(confirmed.tries), stop);
    if (!fresh) return {};
    const bool places = changed_places(*fresh, race);
    const bool longer = stretch(*fresh, race) > kMuchLonger;
    const bool shorter_before = longer && !places && !confirmed.layer_us.empty() &&
                                stretch(confirmed.layer_us, race) < stretch(*fresh, race);
    if (!shorter_before) confirmed.layer_us = std::move(*fresh);
    if (!places && !longer) return confirmed;
  }
  return confirmed;
}

}  // namespace fse
