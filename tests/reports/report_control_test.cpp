#include <doctest/doctest.h>

#include "reports/markdown.h"
#include "tests/reports/synthetic.h"

using namespace fse;
using namespace fse::test;

namespace {

// Two variants, the slot 10 % faster; the baseline was raced against itself, `control` times as
// slow.
ReportData report_with(const TemporaryFolder& folder, double control) {
  Store store = Store::create_or_open(folder / (std::to_string(control) + ".db"));
  const Case mlp = sample_case(Shared::mlp), slot = sample_case(Shared::slot);
  const int64_t study = store.add_study(sample_study(), {{mlp, true}, {slot, false}});
  const int64_t environment = store.add_environment(sample_environment());
  AttemptRecord baseline = layer_attempt(mlp);
  baseline.control_us = samples_around(100 * control);
  record(store, study, environment, baseline, verified_outcome(100));
  record(store, study, environment, layer_attempt(slot), verified_outcome(90));
  return load_report(store);
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
