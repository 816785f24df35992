#include "reports/rival_rows.h"

namespace fse {

std::vector<std::string> rival_columns() {
  return {"rival", "rival_us", "change_percent", "change_lo", "change_hi", "verdict"};
}

std::vector<Cell> rival_cells(const std::optional<Rival>& rival) {
  if (!rival) return std::vector<Cell>(rival_columns().size());
  const Comparison& c = rival->comparison;
  return {choice_text(rival->kernel, rival->tile),
          cell(rival->time_us.median),
          cell(100 * (c.ratio.median - 1)),
          cell(100 * (c.ratio.lo - 1)),
          cell(100 * (c.ratio.hi - 1)),
          to_name(c.verdict)};
}

void add_rivals(const Store& store, int64_t attempt, Grid& steps) {
  for (const std::string& name : rival_columns()) steps.columns.push_back(name);
  std::vector<std::optional<Rival>> rivals(steps.rows.size());
  if (const auto found = store.attempt(attempt))
    for (const CaseRecord& c : store.cases(found->study))
      if (case_id(c.spec) == found->record.case_id)
        rivals = find_rivals(store, c.spec, found->record);
  for (size_t i = 0; i < steps.rows.size(); ++i) {
    const std::vector<Cell> cells = rival_cells(rivals.at(i));
    steps.rows[i].insert(steps.rows[i].end(), cells.begin(), cells.end());
  }
}

}  // namespace fse
