#include "reports/aa_floor.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "core/store_error.h"

namespace fse {

std::optional<Comparison> against_itself(const AttemptRecord& layer, double delta) {
  if (layer.control_us.empty()) return {};
  const Comparison itself = compare_paired(layer.outcome.samples_us, layer.control_us, delta);
  if (itself.verdict == Verdict::invalid) return {};
  return itself;
}

double change_of_halves(const AttemptRecord& layer) {
  const std::vector<double>& us = layer.outcome.samples_us;
  if (us.size() < 12) return std::nan("");
  std::vector<double> halves[2];
  for (size_t i = 0; i < us.size(); ++i) halves[i % 2].push_back(us[i]);
  return std::fabs(median(halves[0]) / median(halves[1]) - 1);
}

bool failed_control(const AttemptRecord& layer, double delta) {
  const auto itself = against_itself(layer, delta);
  return itself && is_difference(itself->verdict);
}

std::set<std::string> failed_races(const Store& store, double delta) {
  std::set<std::string> failed;
  try {
    if (!store.database().tableExists("control_sample")) return failed;  // before version 4
    SQLite::Statement q(store.database(),
                        std::string("SELECT a.id, ") + kRaceSql +
                            " FROM (SELECT DISTINCT attempt FROM control_sample) s JOIN attempt a "
                            "ON a.id = s.attempt JOIN layer_case c ON c.study = a.study AND "
                            "c.id = a.case_id");
    while (q.executeStep()) {
      const auto layer = store.attempt(q.getColumn(0).getInt64());
      if (layer && failed_control(layer->record, delta)) failed.insert(q.getColumn(1).getString());
    }
  } catch (const SQLite::Exception& e) {
    throw_store_error(e, store.file(), "reading controls");
  }
  return failed;
}

std::string to_text(const AaFloor& floor) {
  if (std::isnan(floor.change)) return "";
  return fmt::format(
      " A/A floor: {} by up to {:.1f} % in their medians; a change below that says nothing.",
      floor.controls > 0 ? "layers raced against themselves differ"
                         : "even and odd rounds of one layer differ",
      100 * floor.change);
}

}  // namespace fse
