#include "tuner/confirm.h"

#include <doctest/doctest.h>

#include "core/rng.h"

using namespace fse;

namespace {

// A process that is replaced: what a layer takes depends on which one it is.
struct Processes {
  int now = 0;
  std::function<bool()> renew = [this] {
    ++now;
    return true;
  };
};

class MadeLayer final : public LayerRunner {
 public:
  MadeLayer(const Processes& processes, std::function<double(int process, int run)> us)
      : processes_(processes), us_(std::move(us)) {}
  std::unique_ptr<StepRunner> open_step(size_t, std::span<const Choice>) override { return {}; }
  LayerCheck verify(std::span<const Choice>) override { return {}; }
  RunTimes run(std::span<const Choice>, int, int) override {
    if (processes_.now != process_) run_ = 0;
    process_ = processes_.now;
    return {us_(process_, run_++) * (1 + 0.002 * rng_.uniform()), {}};
  }
  Load load(std::span<const Choice>, int) override { return {}; }

 private:
  const Processes& processes_;
  std::function<double(int, int)> us_;
  int process_ = 0, run_ = 0;
  Rng rng_{1};
};

std::vector<double> rounds(double us) {
  std::vector<double> all;
  for (int r = 0; r < 25; ++r) all.push_back(us + 0.01 * r);
  return all;
}

// The first took 90 us in its race, the second 100.
Confirmed confirm(Processes& processes, const std::function<double(int, int)>& first,
                  const std::function<double(int, int)>& second) {
  MadeLayer a(processes, first), b(processes, second);
  const std::vector<Contestant> contestants{{&a, {}}, {&b, {}}};
  const std::vector<std::vector<double>> race{rounds(90), rounds(100)};
  const MeasureSpec spec{.min_rounds = 7, .max_seconds = 0.01};
  return confirm_layers(contestants, race, spec, 1, processes.renew, [] { return false; });
}

std::function<double(int, int)> steady(double us) {
  return [us](int, int) { return us; };
}

}  // namespace

TEST_CASE("confirm: one fresh process that agrees is enough") {
  Processes processes;
  const Confirmed c = confirm(processes, steady(93), steady(101));
  CHECK(c.tries == 1);
  REQUIRE(c.layer_us.size() == 2);
  CHECK(median(c.layer_us[0]) == doctest::Approx(93).epsilon(0.01));
  CHECK(c.layer_us[0].size() == c.layer_us[1].size());
}

TEST_CASE("confirm: the first runs of a process are no measurement, for either of them") {
  Processes processes;
  const auto cold_at_first = [](int, int run) { return run < 3 ? 8059.0 : 90.0; };
  const Confirmed c = confirm(processes, cold_at_first, cold_at_first);
  for (const auto& layer : c.layer_us)
    for (const double us : layer) CHECK(us < 100);
}

TEST_CASE("confirm: a process in which all takes a hundred times as long is asked again") {
  Processes processes;
  const auto busy_once = [](double us) {
    return [us](int process, int) { return process == 1 ? 100 * us : us; };
  };
  const Confirmed c = confirm(processes, busy_once(91), busy_once(100));
  CHECK(c.tries == 2);
  CHECK(median(c.layer_us[0]) == doctest::Approx(91).epsilon(0.01));
  // Busy to the end: the least busy of three is told.
  Processes others;
  const auto busy = [](int process, int) { return process == 2 ? 300.0 : 900.0; };
  const Confirmed told = confirm(others, busy, busy);
  CHECK(told.tries == 3);
  CHECK(median(told.layer_us[0]) == doctest::Approx(300).epsilon(0.01));
}

TEST_CASE("confirm: layers that change places are asked again, and the last answer counts") {
  Processes processes;
  const Confirmed c = confirm(processes, steady(105), steady(100));
  CHECK(c.tries == 3);
  CHECK(median(c.layer_us[0]) == doctest::Approx(105).epsilon(0.01));
  Processes once;
  const Confirmed agreed = confirm(
      once, [](int process, int) { return process == 1 ? 105.0 : 90.0; }, steady(100));
  CHECK(agreed.tries == 2);
  CHECK(median(agreed.layer_us[0]) == doctest::Approx(90).epsilon(0.01));
}

TEST_CASE("confirm: nothing where no process can be replaced, or a layer fails in a fresh one") {
  Processes processes;
  processes.renew = [] { return false; };
  CHECK(confirm(processes, steady(90), steady(100)).layer_us.empty());
  Processes failing;
  const auto fails = [](int, int) -> double {
    throw AttemptError(Status::launch_failed, "no", false);
  };
  CHECK(confirm(failing, steady(90), fails).layer_us.empty());
}
