#include "experiments/explain_counts.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>

#include <optional>

#include "reports/table.h"

namespace fse {
namespace {

std::optional<StepCounts> newest(const Store& store, const std::string& key, const StepTime& step,
                                 const std::string& arch) {
  SQLite::Statement q(store.database(),
                      "SELECT bytes, loaded_bytes, stored_bytes, flops, matrix_flops, "
                      "coalesce(1.0 * lds_conflicts / nullif(lds_cycles, 0), 0), "
                      "coalesce(1.0 * divergent_accesses / nullif(wave_accesses, 0), 0) "
                      "FROM kernel_count k JOIN environment e ON e.id = k.environment WHERE "
                      "step_key = ? AND kernel = ? AND tile = ? AND e.arch = ? "
                      "ORDER BY counted DESC LIMIT 1");
  q.bind(1, key);
  q.bind(2, step.kernel);
  q.bind(3, to_text(step.tile));
  q.bind(4, arch);
  if (!q.executeStep()) return std::nullopt;
  const auto number = [&](int column) { return q.getColumn(column).getDouble(); };
  return StepCounts{.step = step.step,
                    .declared_bytes = number(0),
                    .loaded_bytes = number(1),
                    .stored_bytes = number(2),
                    .declared_flops = number(3),
                    .matrix_flops = number(4),
                    .conflict_share = number(5),
                    .divergent_share = number(6)};
}

}  // namespace

std::vector<StepCounts> counts_of(const Store& store, const LayerPlan& plan,
                                  const AttemptRecord& layer, const std::string& arch) {
  std::vector<StepCounts> all;
  if (!store.database().tableExists("kernel_count")) return all;  // before version 8
  for (size_t i = 0; i < plan.steps.size() && i < layer.steps.size(); ++i)
    if (const auto counts = newest(store, step_key(plan, plan.steps[i]), layer.steps[i], arch))
      all.push_back(*counts);
  return all;
}

std::string to_markdown(const std::vector<StepCounts>& all) {
  Table table{.titles = {"<step, as emulated", "bytes declared", "loaded", "stored",
                         "flops declared", "on the matrix unit", "LDS conflicts %", "divergent %"}};
  for (const StepCounts& c : all)
    table.rows.push_back(
        {c.step, fmt::format("{:.0f}", c.declared_bytes), fmt::format("{:.0f}", c.loaded_bytes),
         fmt::format("{:.0f}", c.stored_bytes), fmt::format("{:.0f}", c.declared_flops),
         fmt::format("{:.0f}", c.matrix_flops), fmt::format("{:.0f}", 100 * c.conflict_share),
         fmt::format("{:.0f}", 100 * c.divergent_share)});
  return to_markdown(table);
}

}  // namespace fse
