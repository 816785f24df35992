#include "experiments/explain_counts.h"

#include <fmt/format.h>

#include "reports/table.h"

namespace fse {

std::vector<StepCounts> counts_of(const Store& store, const LayerPlan& plan,
                                  const AttemptRecord& layer, const std::string& arch) {
  std::vector<StepCounts> all;
  for (size_t i = 0; i < plan.steps.size() && i < layer.steps.size(); ++i) {
    const StepTime& ran = layer.steps[i];
    const auto counts = store.counts(step_key(plan, plan.steps[i]), ran.kernel, ran.tile, arch);
    if (!counts.empty()) all.push_back({ran.step, counts.front()});
  }
  return all;
}

std::string to_markdown(const std::vector<StepCounts>& all) {
  Table table{.titles = {"<step, as emulated", "bytes declared", "loaded", "stored",
                         "flops declared", "on the matrix unit", "LDS conflicts %", "divergent %"}};
  for (const auto& [step, count] : all) {
    const KernelCounters& c = count.counters;
    table.rows.push_back({step, fmt::format("{:.0f}", count.bytes),
                          fmt::format("{}", c.loaded_bytes), fmt::format("{}", c.stored_bytes),
                          fmt::format("{:.0f}", count.flops), fmt::format("{:.0f}", c.matrix_flops),
                          fmt::format("{:.0f}", 100 * c.conflict_share()),
                          fmt::format("{:.0f}", 100 * c.divergent_share())});
  }
  return to_markdown(table);
}

}  // namespace fse
