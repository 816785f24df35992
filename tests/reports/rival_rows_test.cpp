#include "reports/rival_rows.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "core/plan.h"
#include "reports/markdown.h"
#include "reports/queries.h"
#include "reports/rows.h"
#include "tests/core/store_fixture.h"

using namespace fse;
using namespace fse::test;

namespace {

// A layer whose mlp_stage1 the library lost by a tenth, and whose mlp_stage2 it won.
struct Raced {
  TemporaryFolder folder;
  Store store = Store::create_or_open(folder / "r.db");
  int64_t environment = store.add_environment(sample_environment()), study = 0, layer = 0;
  Case spec = sample_case();
  LayerPlan plan = make_plan(spec, sample_environment().device);

  explicit Raced(bool with_library = true) {
    study = store.add_study(sample_study(), {{.spec = spec, .baseline = true}});
    for (const Step& step : plan.steps) {
      if (step.op != Op::mlp_stage1 && step.op != Op::mlp_stage2) continue;
      const double library_us = step.op == Op::mlp_stage1 ? 11 : 8;
      for (const int rounds : {3, 25}) {  // screening, finals
        add(step, "stream", 10, rounds);
        add(step, "plain", 12, rounds);
        if (with_library) add(step, "library", library_us, rounds);
      }
    }
    AttemptRecord a = layer_attempt(spec);
    a.workload = step_attempt().workload;
    a.outcome = verified_outcome(100);
    for (const Step& step : plan.steps)
      a.steps.push_back({.step = step.name,
                         .op = to_name(step.op),
                         .kernel = kernel_of(step, with_library),
                         .tile = {},
                         .time_us = summarize(samples_around(10))});
    layer = a.id = store.begin_attempt(study, environment, a);
    store.finish_case(a.id, a);
  }
  static std::string kernel_of(const Step& step, bool with_library) {
    const bool library = with_library && step.op == Op::mlp_stage2;
    return "hip." + to_name(step.op) + (library ? ".library" : ".stream");
  }
  void add(const Step& step, const std::string& family, double us, int rounds) {
    AttemptRecord a = step_attempt(step_key(plan, step));
    a.kernel = "hip." + to_name(step.op) + "." + family;
    a.tile = {};
    Outcome outcome = verified_outcome(us);
    outcome.samples_us = samples_around(us, rounds);
    record(store, study, environment, a, outcome);
  }
};

const std::vector<Cell>& row_of(const Grid& grid, const std::string& step) {
  for (const auto& row : grid.rows)
    for (const Cell& cell : row)
      if (const auto* text = std::get_if<std::string>(&cell); text && *text == step) return row;
  throw std::logic_error("no row for " + step);
}
Cell at(const Grid& grid, const std::vector<Cell>& row, const std::string& column) {
  for (size_t i = 0; i < grid.columns.size(); ++i)
    if (grid.columns[i] == column) return row.at(i);
  throw std::logic_error("no column " + column);
}

}  // namespace

TEST_CASE("db steps: what is gained over the library is a number with its interval") {
  const Raced raced;
  const Grid steps = show_steps(raced.store, std::to_string(raced.layer));
  const auto& first = row_of(steps, "mlp_stage1");
  CHECK(std::get<std::string>(at(steps, first, "rival")) == "hip.mlp_stage1.library");
  CHECK(std::get<double>(at(steps, first, "change_percent")) ==
        doctest::Approx(100 * (10. / 11 - 1)));
  CHECK(std::get<double>(at(steps, first, "change_hi")) < -5);
  CHECK(std::get<std::string>(at(steps, first, "verdict")) == "FASTER");
  // The library was taken: against the best kernel of fselab's own.
  const auto& second = row_of(steps, "mlp_stage2");
  CHECK(std::get<std::string>(at(steps, second, "rival")) == "hip.mlp_stage2.stream");
  CHECK(std::get<double>(at(steps, second, "change_percent")) == doctest::Approx(-20));
  const auto& other = row_of(steps, "combine");
  CHECK(std::holds_alternative<std::monostate>(at(steps, other, "rival")));
  CHECK(std::holds_alternative<std::monostate>(at(steps, other, "change_percent")));
}

TEST_CASE(
    "a report names the library beside the kernel that beat it; without one it is as before") {
  const Raced raced;
  const ReportData data = load_report(raced.store);
  const Grid rows = step_rows(data);
  CHECK(std::get<std::string>(at(rows, row_of(rows, "mlp_stage1"), "rival")) ==
        "hip.mlp_stage1.library");
  const std::string text = to_markdown(data);
  CHECK(contains(text, "The vendor's library and fselab's own kernels in the finals"));
  CHECK(contains(text, "mlp_stage1.library"));
  CHECK(contains(text, "-9.1"));
  const Raced without(false);
  CHECK_FALSE(contains(to_markdown(load_report(without.store)), "The vendor's library"));
  const Grid steps = show_steps(without.store, std::to_string(without.layer));
  CHECK(std::holds_alternative<std::monostate>(at(steps, row_of(steps, "mlp_stage1"), "rival")));
}

TEST_CASE("finals of another process are no rival's: its rounds were others") {
  Raced raced;
  const auto step = std::find_if(raced.plan.steps.begin(), raced.plan.steps.end(),
                                 [](const Step& s) { return s.op == Op::mlp_stage1; });
  const auto rival = [&](const std::string& kernel) {
    return find_rival(raced.store, step_key(raced.plan, *step), step_attempt().workload,
                      raced.environment, kernel, {});
  };
  CHECK(rival("hip.mlp_stage1.stream"));
  CHECK_FALSE(rival("hip.mlp_stage1.dense"));  // was in no finals
  Store another = Store::create_or_open(raced.folder / "r.db");
  AttemptRecord a = step_attempt(step_key(raced.plan, *step));
  a.kernel = "hip.mlp_stage1.stream";
  a.tile = {};
  record(another, raced.study, raced.environment, a, verified_outcome(10));
  CHECK_FALSE(rival("hip.mlp_stage1.stream"));
}
