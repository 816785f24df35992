#include <doctest/doctest.h>

#include "reports/compare.h"
#include "reports/markdown.h"
#include "tests/reports/synthetic.h"

using namespace fse;
using namespace fse::test;

namespace {

// Two variants, the slot 10 % faster; the baseline was raced against itself, `control` times as
// slow.
Store store_with(const TemporaryFolder& folder, double control) {
  Store store = Store::create_or_open(folder / (std::to_string(control) + ".db"));
  const Case mlp = sample_case(Shared::mlp), slot = sample_case(Shared::slot);
  const int64_t study = store.add_study(sample_study(), {{mlp, true}, {slot, false}});
  const int64_t environment = store.add_environment(sample_environment());
  AttemptRecord baseline = layer_attempt(mlp);
  baseline.control_us = samples_around(100 * control);
  record(store, study, environment, baseline, verified_outcome(100));
  record(store, study, environment, layer_attempt(slot), verified_outcome(90));
  return store;
}

ReportData report_with(const TemporaryFolder& folder, double control) {
  return load_report(store_with(folder, control));
}

}  // namespace

TEST_CASE("a race whose control agrees with itself is decided, and the floor is the control's") {
  const TemporaryFolder folder;
  const ReportData data = report_with(folder, 1.004);
  CHECK(data.series[0].workloads[0].variants[1].comparison.verdict == Verdict::faster);
  CHECK(data.controls == 1);
  CHECK(data.failed_controls == 0);
  CHECK(data.aa_floor == doctest::Approx(0.004).epsilon(0.02));
  CHECK(to_markdown(data).find("layers raced against themselves differ by up to 0.4 %") !=
        std::string::npos);
}

TEST_CASE("a race in which a layer beats itself decides nothing, and the report says so") {
  const TemporaryFolder folder;
  for (double control : {0.97, 1.03}) {
    const ReportData data = report_with(folder, control);
    CHECK(data.series[0].workloads[0].variants[1].comparison.verdict == Verdict::undecided);
    CHECK(data.failed_controls == 1);
    CHECK(to_markdown(data).find("1 of 1 layers raced against themselves came out FASTER") !=
          std::string::npos);
  }
}

TEST_CASE("a comparison of two selections decides nothing where a race's control failed") {
  const TemporaryFolder folder;
  for (const double control : {0.97, 1.0, 1.03}) {
    CAPTURE(control);
    const Store store = store_with(folder, control);
    const bool fails = control != 1.0;
    const Pairs pairs = match_pairs(store, "shared=mlp", store, "shared=slot");
    REQUIRE(pairs.all.size() == 1);
    CHECK(pairs.all[0].comparison.verdict == (fails ? Verdict::undecided : Verdict::faster));
    CHECK((to_markdown(pairs).find("1 of the pairs were measured in a race in which a layer was "
                                   "faster or slower than itself") != std::string::npos) == fails);
  }
}

TEST_CASE("a control that failed counts for layers of its race that are compared without it") {
  const TemporaryFolder folder;
  const Store store = store_with(folder, 1.03);
  // The layer that was raced twice is on neither side.
  const Pairs pairs = match_pairs(store, "shared=slot", store, "shared=slot");
  REQUIRE(pairs.all.size() == 1);
  CHECK(pairs.all[0].comparison.verdict == Verdict::undecided);
}
