#include "core/store.h"
#include "core/store_ddl.h"
#include "core/store_sql.h"

namespace fse {

namespace {

// What a GPU's kernel needs, and the fastest of a million attempts without reading them all.
std::string resources_and_index() {
  return R"sql(
ALTER TABLE attempt ADD COLUMN registers INTEGER;    -- these three: a step on a GPU; per thread
ALTER TABLE attempt ADD COLUMN lds_bytes INTEGER;    -- per block
ALTER TABLE attempt ADD COLUMN spill_bytes INTEGER;  -- per thread
CREATE INDEX attempt_fastest ON attempt (level, median_us)
  WHERE verified = 1 AND status = 'measured';
)sql";
}

// Which process works on which cases, so that several share a study.
std::string claims() {
  return R"sql(
ALTER TABLE run ADD COLUMN heartbeat TEXT;  -- when it last wrote an attempt
CREATE TABLE claim (
  study INTEGER NOT NULL,
  case_id TEXT NOT NULL,
  run INTEGER NOT NULL REFERENCES run (id),
  since TEXT NOT NULL,
  PRIMARY KEY (study, case_id),
  FOREIGN KEY (study, case_id) REFERENCES layer_case (study, id)
) STRICT, WITHOUT ROWID;
)sql";
}

// The A/A control: the same layer once more in every round of its race.
std::string control_table() {
  std::string sql = R"sql(
CREATE TABLE control_sample (
  attempt INTEGER NOT NULL REFERENCES attempt (id),
  round INTEGER NOT NULL CHECK (round >= 0),
  us REAL NOT NULL,
  PRIMARY KEY (attempt, round)
) STRICT, WITHOUT ROWID;
)sql";
  for (const char* event : {"insert", "update"})
    sql += fmt::format(closed_check, "control_sample", event);
  return sql;
}

// What a layer took in a fresh process, the other tiles it was tried with, and a step's memory.
std::string confirmed_and_joint() {
  std::string sql = R"sql(
ALTER TABLE attempt ADD COLUMN peak_bytes INTEGER;  -- of memory in use while a step was verified
CREATE TABLE confirm_sample (
  attempt INTEGER NOT NULL REFERENCES attempt (id),
  round INTEGER NOT NULL CHECK (round >= 0),
  us REAL NOT NULL,
  PRIMARY KEY (attempt, round)
) STRICT, WITHOUT ROWID;
CREATE TABLE joint_trial (
  attempt INTEGER NOT NULL REFERENCES attempt (id),
  ordinal INTEGER NOT NULL,
  step TEXT NOT NULL,
  kernel TEXT NOT NULL,
  tile TEXT NOT NULL,
  ratio REAL,                      -- layer with it / layer of the steps' winners, the median
  lo REAL,
  hi REAL,
  n INTEGER NOT NULL,
  taken INTEGER NOT NULL CHECK (taken IN (0, 1)),
  PRIMARY KEY (attempt, ordinal)
) STRICT, WITHOUT ROWID;
)sql";
  for (const char* table : {"confirm_sample", "joint_trial"})
    for (const char* event : {"insert", "update"}) sql += fmt::format(closed_check, table, event);
  return sql;
}

// What a sweep asked for and no case shows: models that are not implemented.
std::string study_notes() {
  return "ALTER TABLE study ADD COLUMN notes TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(notes));";
}

// What ranks and filters attempts without reading their rows, which are ten times as many bytes:
// the fastest of a million in under a second, whatever the filter. Measured by bench_db.
std::string index_of_fastest() {
  return R"sql(
DROP INDEX attempt_fastest;
CREATE INDEX attempt_fastest ON attempt (level, median_us, study, environment, case_id, kernel,
  step_key) WHERE verified = 1 AND status = 'measured';
)sql";
}

// Who competes whatever it takes, how a layer that was tried ended, how often a fresh process was
// asked, and over how many rounds the loads are means.
std::string selection_columns() {
  return fmt::format(
      R"sql(
ALTER TABLE attempt ADD COLUMN role TEXT NOT NULL DEFAULT '';
ALTER TABLE attempt ADD COLUMN load_rounds INTEGER;
ALTER TABLE attempt ADD COLUMN confirm_tries INTEGER;
ALTER TABLE joint_trial ADD COLUMN status TEXT NOT NULL DEFAULT 'measured' {};
ALTER TABLE joint_trial ADD COLUMN reason TEXT NOT NULL DEFAULT '';
)sql",
      one_of<Status>("status"));
}

}  // namespace

std::string later_statements(int version) {
  if (version == 2) return resources_and_index();
  if (version == 3) return claims();
  if (version == 4) return control_table();
  if (version == 5) return study_notes();
  if (version == 6) return index_of_fastest();
  if (version == 7) return confirmed_and_joint();
  if (version == 8) return count_table();
  if (version == 9) return selection_columns();
  throw std::logic_error(fmt::format("schema version {} has statements", version));
}

}  // namespace fse
