#include "reports/slot_losses.h"

#include <doctest/doctest.h>

#include "reports/markdown.h"
#include "tests/reports/synthetic.h"

using namespace fse;
using namespace fse::test;

namespace {

// At one token count: the baseline, the overlapped MLP and the slot.
struct Three {
  TemporaryFolder folder;
  SyntheticStudy s{folder / "three.db"};
  Three(double mlp_us, double overlapped_us, double slot_us) {
    s.add(sample_case(Shared::mlp), true);
    s.add(sample_case(Shared::mlp_overlapped));
    s.add(sample_case(Shared::slot));
    s.store_study();
    s.measure(sample_case(Shared::mlp), mlp_us);
    s.measure(sample_case(Shared::mlp_overlapped), overlapped_us);
    s.measure(sample_case(Shared::slot), slot_us);
  }
  ReportData data() const { return load_report(s.store); }
  std::string text() const {
    const ReportData all = data();
    return slot_losses_section(all, varying(all));
  }
};

}  // namespace

TEST_CASE("the account of a change adds up to it, costs first, savings last") {
  const ReportData data = Three(1000, 990, 1100).data();
  const WorkloadResult& w = data.series[0].workloads[0];
  REQUIRE(w.duel);
  const AttemptRecord &slot = *w.variants[w.duel->slot].layer,
                      &other = *w.variants[w.duel->other].layer;
  const auto changes = account_for(slot, other);
  double sum = 0;
  for (const StepChange& c : changes) sum += c.change_us;
  CHECK(sum == doctest::Approx(slot.time_us.median - other.time_us.median));
  CHECK(changes.front().step == "grouped_stage1");
  CHECK(changes.front().change_us > 50);
  CHECK(changes.back().step == "launches and waits");
  CHECK(changes[changes.size() - 2].step == "mlp_stage1");
  CHECK(changes[changes.size() - 2].us == 0);
  for (size_t i = 1; i + 1 < changes.size(); ++i)
    CHECK(changes[i - 1].change_us >= changes[i].change_us);
}

TEST_CASE("the slot loses against the best other way, also where it beats the baseline") {
  const Three strong(1000, 900, 950);
  const std::string text = strong.text();
  CAPTURE(text);
  CHECK(contains(text, "SLOWER at tokens=4"));
  CHECK(contains(text, "| separate/unfused/slot |   950.0 | separate/unfused/mlp_overlapped"));
  CHECK(contains(text, "+5.6"));
  CHECK(contains(text, "grouped_stage1 +27.6"));
  CHECK(contains(text, "mlp_stage1 -18.1"));
  CHECK(contains(text, "What it costs at tokens=4 of qwen3-next-80b-a3b bf16, step by step:"));
  CHECK(contains(text, "| **layer** "));
  CHECK(contains(to_markdown(strong.data()), "## Where the slot loses"));
  CHECK(strong.data().comparisons == 3);  // two against the baseline, and this one
}

TEST_CASE("where the slot never loses, the closest workload is named") {
  const std::string text = Three(1000, 990, 800).text();
  CHECK(contains(text, "FASTER at tokens=4"));
  CHECK(contains(text, "It is SLOWER in 0 of 1 workloads, and comes closest at tokens=4"));
  CHECK_FALSE(contains(text, "step by step"));
  // The baseline is the fastest other variant: that comparison is made once.
  const ReportData same = Three(990, 1000, 800).data();
  CHECK(same.comparisons == 2);
  const WorkloadResult& w = same.series[0].workloads[0];
  CHECK(w.duel->comparison.p_holm == w.variants[w.duel->slot].comparison.p_holm);
}

TEST_CASE("without a slot, or without anything else, there is nothing to lose") {
  const TemporaryFolder folder;
  SyntheticStudy s(folder / "one.db");
  s.add(sample_case(Shared::slot), true);
  s.store_study();
  s.measure(sample_case(Shared::slot), 100);
  CHECK_FALSE(contains(to_markdown(load_report(s.store)), "Where the slot loses"));
}
