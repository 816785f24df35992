#include "reports/json.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "reports/markdown.h"
#include "reports/rows.h"

namespace fse {

std::string to_json(const Store& store, const ReportData& data) {
  using nlohmann::ordered_json;
  const ordered_json head = {
      {"schema", "fselab-report/1"},
      {"headline", headline_markdown(data)},
      {"study", ordered_json{{"name", data.study.name},
                             {"created", data.study.created},
                             {"command", data.study.command},
                             {"plan_hash", data.study.plan_hash},
                             {"yaml", data.study.yaml_text},
                             {"notes", data.study.notes}}},
      {"db", store.file()},
      {"delta_percent", 100 * data.delta},
      {"comparisons", data.comparisons},
      {"aa_floor_percent",
       std::isfinite(data.aa_floor) ? ordered_json(100 * data.aa_floor) : ordered_json()},
      {"controls", data.controls},
      {"failed_controls", data.failed_controls},
  };
  std::string text = head.dump(1, ' ', false, nlohmann::json::error_handler_t::replace);
  text.erase(text.rfind('\n'));  // the closing brace comes after the rows
  const auto add = [&](const char* name, const Grid& grid) {
    text += ",\n \"" + std::string(name) + "\": " + to_json(grid);
    text.pop_back();
  };
  add("environments", environment_rows(data));
  add("ceilings", ceiling_rows(data));
  add("results", result_rows(data));
  add("steps", step_rows(data));
  add("slot_duels", duel_rows(data));
  add("confirmations", confirmation_rows(data));
  add("joint_trials", joint_trial_rows(data));
  add("loads", load_rows(data));
  add("failures", failure_rows(data));
  add("tiles", tile_rows(store, data));
  return text + "\n}\n";
}

}  // namespace fse
