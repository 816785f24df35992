#include "tuner/attempt.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <new>

namespace fse {

Outcome verified(StepRunner& bench, const Choice& choice) {
  Outcome outcome{.status = Status::measured, .accuracy = bench.verify(choice)};
  outcome.resources = bench.resources(choice);
  outcome.peak_bytes = bench.peak_bytes();
  if (outcome.accuracy.ok()) return outcome;
  outcome.status = Status::wrong;
  outcome.reason = outcome.accuracy.first_bad;
  return outcome;
}

Outcome judged(Outcome outcome) {
  auto& samples = outcome.samples_us;
  const auto is_time = [](double us) { return us > 0 && std::isfinite(us); };
  const auto bad = std::find_if_not(samples.begin(), samples.end(), is_time);
  if (bad == samples.end()) return outcome;
  outcome.status = Status::suspect;  // no step takes no time
  outcome.reason = fmt::format("a sample is {} us, expected a time above 0", *bad);
  keep_finite(samples);
  return outcome;
}

void keep_finite(std::vector<double>& samples_us) {
  std::erase_if(samples_us, [](double us) { return !std::isfinite(us); });
}

Ended ended(const std::function<Outcome()>& work) {
  try {
    return {work()};
  } catch (const AttemptError& error) {
    return {{.status = error.status, .reason = error.what()}, error.device_lost};
  } catch (const Error& error) {
    return {{.status = Status::launch_failed, .reason = error.what()}};
  } catch (const std::bad_alloc&) {
    return {{.status = Status::out_of_memory, .reason = "an allocation failed"}};
  }
}

}  // namespace fse
