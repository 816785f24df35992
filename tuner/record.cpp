#include "tuner/record.h"

#include <algorithm>
#include <chrono>

#include "core/error.h"
#include "core/rng.h"
#include "tuner/attempt.h"

namespace fse {
namespace {

using Clock = std::chrono::steady_clock;

// The default, and as many others as there may be, in the order of the axes.
std::vector<Choice> sampled(std::span<const Choice> all, const RecordSpec& spec) {
  std::vector<size_t> places;
  for (size_t i = 1; i < all.size(); ++i) places.push_back(i);
  const auto most = static_cast<size_t>(std::max(1, spec.most_tiles));
  if (all.size() > most) {
    Rng rng(spec.seed);
    shuffle(places, rng);
    places.resize(most - 1);
    std::sort(places.begin(), places.end());
  }
  std::vector<Choice> chosen{all[0]};
  for (const size_t place : places) chosen.push_back(all[place]);
  return chosen;
}

Outcome outcome_of(StepRunner& bench, const Choice& choice, int samples) {
  return ended([&] {
           bench.restore();
           Outcome outcome = verified(bench, choice);
           if (outcome.status != Status::measured) return outcome;
           for (int round = 0; round < samples; ++round)
             outcome.samples_us.push_back(bench.time_us(choice, round));
           return judged(std::move(outcome));
         })
      .outcome;
}

}  // namespace

std::vector<RecordedTile> record_tiles(StepRunner& bench, std::span<const Choice> all,
                                       const RecordSpec& spec) {
  constexpr size_t kAhead = 64;  // compiled together
  const std::vector<Choice> chosen = sampled(all, spec);
  bench.prepare_reference();
  std::vector<RecordedTile> tiles;
  const Clock::time_point start = Clock::now();
  for (size_t i = 0; i < chosen.size(); ++i) {
    if (spec.stop()) throw Error(ErrorKind::incomplete, "stopped while recording");
    const double spent = std::chrono::duration<double>(Clock::now() - start).count();
    if (spec.seconds > 0 && spent > spec.seconds) break;
    if (i % kAhead == 0)
      bench.compile(std::span(chosen).subspan(i, std::min(kAhead, chosen.size() - i)));
    tiles.push_back({chosen[i].kernel->name, to_text(chosen[i].tile),
                     outcome_of(bench, chosen[i], spec.samples)});
  }
  return tiles;
}

}  // namespace fse
