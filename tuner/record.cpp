#include "tuner/record.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <set>

#include "core/rng.h"
#include "tuner/attempt.h"

namespace fse {
namespace {

using Clock = std::chrono::steady_clock;

// Digits beyond the noise would be most of a file.
double rounded(double value, double unit) {
  return std::isfinite(value) ? std::round(value / unit) * unit : value;
}
double three_digits(double value) {
  if (!(value > 0) || !std::isfinite(value)) return value;
  return rounded(value, std::pow(10, std::floor(std::log10(value)) - 2));
}

Outcome outcome_of(StepRunner& bench, const Choice& choice, int samples) {
  Outcome outcome = ended([&] {
                      bench.restore();
                      Outcome tried = verified(bench, choice);
                      if (tried.status != Status::measured) return tried;
                      for (int round = 0; round < samples; ++round)
                        tried.samples_us.push_back(rounded(bench.time_us(choice, round), 1e-4));
                      return judged(std::move(tried));
                    }).outcome;
  outcome.accuracy.rel_frobenius = three_digits(outcome.accuracy.rel_frobenius);
  outcome.accuracy.worst = three_digits(outcome.accuracy.worst);
  return outcome;
}

std::string text_of(const RecordedTile& tile) {
  return choice_text(tile.kernel, tile_from_text(tile.tile));
}

}  // namespace

std::vector<Choice> recorded_choices(std::span<const Choice> all, int most, uint64_t seed) {
  std::vector<size_t> places;
  for (size_t i = 1; i < all.size(); ++i) places.push_back(i);
  const auto limit = static_cast<size_t>(std::max(1, most));
  if (all.size() > limit) {
    Rng rng(seed);
    shuffle(places, rng);
    places.resize(limit - 1);
    std::sort(places.begin(), places.end());
  }
  std::vector<Choice> chosen{all[0]};
  for (const size_t place : places) chosen.push_back(all[place]);
  return chosen;
}

std::vector<Choice> missing_choices(std::span<const Choice> chosen,
                                    const std::vector<RecordedTile>& before) {
  std::set<std::string> known;
  for (const RecordedTile& tile : before) known.insert(text_of(tile));
  std::vector<Choice> missing;
  for (const Choice& choice : chosen)
    if (!known.contains(to_text(choice))) missing.push_back(choice);
  return missing;
}

std::vector<RecordedTile> record_tiles(StepRunner& bench, std::span<const Choice> missing,
                                       const RecordSpec& spec) {
  constexpr size_t kAhead = 64;  // compiled together
  bench.prepare_reference();
  std::vector<RecordedTile> tiles;
  const Clock::time_point start = Clock::now();
  for (size_t i = 0; i < missing.size() && !spec.stop(); ++i) {
    const double spent = std::chrono::duration<double>(Clock::now() - start).count();
    if (spec.seconds > 0 && spent > spec.seconds) break;
    if (i % kAhead == 0) {
      const size_t count = std::min(kAhead, missing.size() - i);
      spec.before_compiling(i + count);
      bench.compile(missing.subspan(i, count));
    }
    tiles.push_back({missing[i].kernel->name, to_text(missing[i].tile),
                     outcome_of(bench, missing[i], spec.samples)});
  }
  return tiles;
}

std::vector<RecordedTile> in_order_of(std::span<const Choice> chosen,
                                      const std::vector<RecordedTile>& tiles) {
  std::map<std::string, const RecordedTile*> by_name;
  for (const RecordedTile& tile : tiles) by_name[text_of(tile)] = &tile;
  std::vector<RecordedTile> ordered;
  for (const Choice& choice : chosen)
    if (const auto it = by_name.find(to_text(choice)); it != by_name.end())
      ordered.push_back(*it->second);
  return ordered;
}

}  // namespace fse
