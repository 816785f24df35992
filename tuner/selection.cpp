#include "tuner/selection.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>

namespace fse {
namespace {

double gbs(const AttemptRecord& layer) {
  const double us = summarize(layer.outcome.samples_us).median;
  return us > 0 ? layer.bytes / us / 1e3 : INFINITY;
}

double percentile_90(std::vector<double> us) {
  std::sort(us.begin(), us.end());
  return us[(us.size() * 9 + 9) / 10 - 1];
}

// What a finalist is judged by, the first difference deciding.
using Standing = std::tuple<double, double, int, std::string>;
Standing standing(const AttemptRecord& a, const AttemptRecord& incumbent) {
  const std::vector<double>&us = a.outcome.samples_us, &first = incumbent.outcome.samples_us;
  std::vector<double> ratios;
  for (size_t i = 0; i < std::min(us.size(), first.size()); ++i) ratios.push_back(us[i] / first[i]);
  const auto& needs = a.outcome.resources;
  return {median(ratios), percentile_90(us), needs ? needs->registers : 0,
          choice_text(a.kernel, a.tile)};
}

}  // namespace

std::optional<size_t> best_finalist(std::span<const AttemptRecord> finals) {
  std::optional<size_t> incumbent, best;
  Standing best_standing;
  for (size_t i = 0; i < finals.size(); ++i) {
    const Outcome& outcome = finals[i].outcome;
    if (outcome.status != Status::measured || outcome.samples_us.empty()) continue;
    if (!incumbent) incumbent = i;
    const Standing mine = standing(finals[i], finals[*incumbent]);
    if (best && !(mine < best_standing)) continue;
    best = i;
    best_standing = mine;
  }
  return best;
}

bool beats_memory(const AttemptRecord& layer, Cache cache, double sourced_gbs) {
  const bool from_memory = cache != Cache::warm && layer.rotation_shortfall_bytes == 0;
  const double peak_gbs = std::max(layer.read_gbs, sourced_gbs);
  return from_memory && peak_gbs > 0 && gbs(layer) > kMostOfPeak * peak_gbs;
}

std::string suspicion(const AttemptRecord& layer, Cache cache, double sourced_gbs,
                      const std::vector<AttemptRecord>& twins) {
  const std::vector<double>& us = layer.outcome.samples_us;
  for (const double sample : us)
    if (!(sample > 0) || !std::isfinite(sample))
      return fmt::format("a sample is {} us, expected a time above 0", sample);
  if (beats_memory(layer, cache, sourced_gbs))
    return fmt::format("{:.1f} GB/s are read, more than {} of the {:.1f} GB/s that the device can",
                       gbs(layer), kMostOfPeak, std::max(layer.read_gbs, sourced_gbs));
  constexpr size_t kFewest = 6;
  for (const AttemptRecord& twin : twins)
    if (us.size() >= kFewest && twin.outcome.samples_us == us)
      return fmt::format("all {} samples equal those of attempt {}, another token count", us.size(),
                         twin.id);
  return {};
}

}  // namespace fse
