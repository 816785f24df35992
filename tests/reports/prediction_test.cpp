#include "reports/prediction.h"

#include <doctest/doctest.h>

#include "reports/markdown.h"
#include "reports/rows.h"
#include "tests/reports/synthetic.h"

using namespace fse;
using namespace fse::test;

namespace {

struct Studied {
  TemporaryFolder folder;
  SyntheticStudy s{folder / "all.db"};
  ReportData data;
  Studied() {
    fill_realistic(s);
    data = load_report(s.store);
  }
};

const Cell& cell_of(const Grid& grid, size_t row, const std::string& column) {
  for (size_t c = 0; c < grid.columns.size(); ++c)
    if (grid.columns[c] == column) return grid.rows.at(row).at(c);
  throw std::runtime_error("no column " + column);
}

}  // namespace

TEST_CASE("a prediction stands beside every measured layer of a device that is known") {
  Studied at;
  CHECK_FALSE(predict(at.data, at.s.cases[0].spec));
  CHECK(prediction_section(at.data, varying(at.data)).empty());
  CHECK(std::holds_alternative<std::monostate>(cell_of(result_rows(at.data), 0, "predicted_us")));
  at.data.models["cpu"] = sample_model();
  const auto predicted = predict(at.data, at.s.cases[0].spec);
  REQUIRE(predicted);
  CHECK(predicted->us > 0);
  CHECK(predicted->low_us < predicted->us);
  CHECK(predicted->high_us > predicted->us);
  const Grid rows = result_rows(at.data);
  for (size_t row = 0; row < rows.rows.size(); ++row) {
    const bool measured = std::holds_alternative<double>(cell_of(rows, row, "layer_time_us"));
    CHECK(std::holds_alternative<double>(cell_of(rows, row, "predicted_us")) == measured);
  }
  const Grid steps = step_rows(at.data);
  CHECK(std::get<double>(cell_of(steps, 0, "predicted_us")) > 0);
  const std::string text = to_markdown(at.data);
  CHECK(contains(text, "## Prediction beside measurement"));
  CHECK(contains(text, "| glm-4.7 bf16 tp=4            | slot "));
}

TEST_CASE("what nobody can predict is left open") {
  Studied at;
  at.data.models["cpu"] = sample_model();
  Case c = at.s.cases[0].spec;
  c.routing.kind = RoutingKind::zipf;
  c.routing.parameter = 1.2;
  CHECK(predict(at.data, c));
  c.routing.kind = RoutingKind::trace;
  CHECK_FALSE(predict(at.data, c));
  c.routing.kind = RoutingKind::uniform;
  c.device = "hip:3";
  CHECK_FALSE(predict(at.data, c));
}
