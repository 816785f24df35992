#include "tuner/attempt.h"

#include <algorithm>
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
  const auto& samples = outcome.samples_us;
  if (std::all_of(samples.begin(), samples.end(), [](double us) { return us > 0; })) return outcome;
  outcome.status = Status::suspect;  // no step takes no time
  outcome.reason = "a sample is not above 0 us";
  return outcome;
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
