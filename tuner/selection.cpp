#include "tuner/selection.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace fse {
namespace {

double gbs(const AttemptRecord& layer) {
  const double us = summarize(layer.outcome.samples_us).median;
  return us > 0 ? layer.bytes / us / 1e3 : INFINITY;
}

}  // namespace

bool beats_memory(const AttemptRecord& layer, Cache cache) {
  const bool from_memory = cache != Cache::warm && layer.rotation_shortfall_bytes == 0;
  return from_memory && layer.read_gbs > 0 && gbs(layer) > kMostOfPeak * layer.read_gbs;
}

std::string suspicion(const AttemptRecord& layer, Cache cache,
                      const std::vector<AttemptRecord>& twins) {
  const std::vector<double>& us = layer.outcome.samples_us;
  for (const double sample : us)
    if (!(sample > 0) || !std::isfinite(sample))
      return fmt::format("a sample is {} us, expected a time above 0", sample);
  if (beats_memory(layer, cache))
    return fmt::format("{:.1f} GB/s are read, more than {} of the {:.1f} GB/s that the device can",
                       gbs(layer), kMostOfPeak, layer.read_gbs);
  constexpr size_t kFewest = 6;
  for (const AttemptRecord& twin : twins)
    if (us.size() >= kFewest && twin.outcome.samples_us == us)
      return fmt::format("all {} samples equal those of attempt {}, another token count", us.size(),
                         twin.id);
  return {};
}

}  // namespace fse
