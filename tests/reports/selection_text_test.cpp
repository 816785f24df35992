#include "reports/selection_text.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "core/rng.h"
#include "reports/markdown.h"
#include "reports/variant_crossings.h"
#include "synthetic.h"
#include "tests/temporary_folder.h"

using namespace fse;
using namespace fse::test;

namespace {

std::vector<double> rounds(double us, double noise, int n = 25) {
  std::vector<double> all;
  for (int r = 0; r < n; ++r) all.push_back(us * (1 + noise * std::sin(1.7 * r)));
  return all;
}

// The baseline and a slot, with what `change` makes of their attempts.
std::string report_of(const std::function<void(AttemptRecord&, bool slot)>& change) {
  const TemporaryFolder folder;
  SyntheticStudy s(folder / "s.db");
  const Case mlp = sample_case(Shared::mlp, 4), slot = sample_case(Shared::slot, 4);
  s.add(mlp, true);
  s.add(slot);
  s.store_study();
  for (const Case& c : {mlp, slot}) {
    const bool is_slot = c.variant.shared == Shared::slot;
    AttemptRecord a = layer_attempt(c);
    a.outcome = verified_outcome(100);
    a.outcome.samples_us = rounds(is_slot ? 90 : 100, 0.01);
    change(a, is_slot);
    a.id = s.store.begin_attempt(s.study, s.environment, a);
    s.store.finish_case(a.id, a);
  }
  return to_markdown(load_report(s.store));
}

}  // namespace

TEST_CASE("what a fresh process measured stands beside what won, with the difference") {
  const std::string text =
      report_of([](AttemptRecord& a, bool slot) { a.confirm_us = rounds(slot ? 95 : 100, 0.01); });
  CHECK(contains(text, "Once more in a fresh process separate/unfused/slot takes 95"));
  CHECK(contains(text, "105.6 % of what it won with"));
  CHECK(contains(text,
                 "against separate/unfused/mlp that is -5.0 % [-5.0, -5.0] (FASTER), "
                 "-10.0 % in the race: winning flattered it by +5.0 points."));
}

TEST_CASE("a winner that a fresh process contradicts has not won, and the report says so") {
  const std::string text =
      report_of([](AttemptRecord& a, bool slot) { a.confirm_us = rounds(slot ? 120 : 100, 0.01); });
  CHECK(contains(text, "(SLOWER), -10.0 % in the race"));
  CHECK(contains(text, "that contradicts the race, whose verdict is UNDECIDED."));
  CHECK(contains(text, "| UNDECIDED |"));
  CHECK_FALSE(contains(text, "| FASTER |"));
}

TEST_CASE("the tiles that a layer has for its own sake are named, and where none is, that too") {
  JointTrial trial{.step = "grouped_stage1", .kernel = "cpu.grouped_stage1.stream"};
  trial.tile = {{{"rows", 4}}};
  trial.ratio = {.median = 0.97, .lo = 0.96, .hi = 0.98, .n = 9};
  const std::string none = report_of([&](AttemptRecord& a, bool) { a.trials = {trial}; });
  CHECK(contains(none, "Of 1 layer with another tile for one step, none was faster"));
  trial.taken = true;
  const std::string one = report_of([&](AttemptRecord& a, bool) { a.trials = {trial}; });
  CHECK(contains(one,
                 "For the whole layer's sake grouped_stage1 has rows=4 (-3.0 % [-4.0, -2.0]); "
                 "1 other tile was tried so."));
  CHECK_FALSE(contains(report_of([](AttemptRecord&, bool) {}), "fresh process"));
}

TEST_CASE("a break-even between variants has its token counts and a confidence") {
  const TemporaryFolder folder;
  SyntheticStudy s(folder / "s.db");
  const std::map<int, double> slot_us{{1, 900}, {4, 950}, {16, 1050}, {64, 1100}};
  for (const auto& [tokens, us] : slot_us) {
    s.add(sample_case(Shared::mlp, tokens), true);
    s.add(sample_case(Shared::slot, tokens));
  }
  s.store_study();
  for (const auto& [tokens, us] : slot_us) {
    s.measure(sample_case(Shared::mlp, tokens), 1000);
    s.measure(sample_case(Shared::slot, tokens), us);
  }
  const ReportData data = load_report(s.store);
  const std::vector<Crossing> crossings = variant_crossings(data.series.front());
  REQUIRE(crossings.size() == 1);
  CHECK(crossings[0].below.shared == Shared::slot);
  CHECK(crossings[0].above.shared == Shared::mlp);
  CHECK(crossings[0].from == 4);
  CHECK(crossings[0].to == 16);
  CHECK(crossings[0].tokens == doctest::Approx(8));  // halfway in log(tokens)
  CHECK(crossings[0].confidence > 0.999);            // all 25 rounds at both ends
  CHECK(contains(to_markdown(data), "### Break-even between variants"));
}

TEST_CASE("a crossing within the noise has little confidence") {
  const TemporaryFolder folder;
  SyntheticStudy s(folder / "s.db");
  for (const int tokens : {1, 4})
    for (const Shared shared : {Shared::mlp, Shared::slot})
      s.add(sample_case(shared, tokens), shared == Shared::mlp);
  s.store_study();
  Rng rng(3);
  for (const int tokens : {1, 4})
    for (const Shared shared : {Shared::mlp, Shared::slot}) {
      AttemptRecord a = layer_attempt(sample_case(shared, tokens));
      a.outcome = verified_outcome(100);
      const double shift = (shared == Shared::slot) == (tokens == 1) ? 0 : 0.05;
      a.outcome.samples_us.clear();
      for (int r = 0; r < 11; ++r) a.outcome.samples_us.push_back(100 + rng.normal() + shift);
      a.id = s.store.begin_attempt(s.study, s.environment, a);
      s.store.finish_case(a.id, a);
    }
  for (const Crossing& c : variant_crossings(load_report(s.store).series.front()))
    CHECK(c.confidence < 0.95);
}
