#include <fmt/format.h>

#include "core/store.h"
#include "core/store_ddl.h"
#include "core/store_sql.h"

namespace fse {

namespace {

std::string flag(const char* column) {
  return fmt::format("{0} INTEGER NOT NULL CHECK ({0} IN (0, 1))", column);
}

std::string provenance_tables() {
  return fmt::format(R"sql(
CREATE TABLE environment (
  id INTEGER PRIMARY KEY,
  hash TEXT NOT NULL UNIQUE,       -- of device, compiler, git_revision and host_os
  device TEXT NOT NULL,
  kind TEXT NOT NULL,
  arch TEXT NOT NULL,
  product TEXT NOT NULL,
  compute_units INTEGER NOT NULL,
  memory_bytes INTEGER NOT NULL,
  llc_bytes INTEGER NOT NULL,
  dtypes TEXT NOT NULL CHECK (json_valid(dtypes)),
  {}, {}, {},
  {}, {},
  wave INTEGER NOT NULL,           -- this and the next two: GPUs only
  lds_bytes INTEGER NOT NULL,
  block_threads INTEGER NOT NULL,
  compiler TEXT NOT NULL,
  git_revision TEXT NOT NULL,
  host_os TEXT NOT NULL,
  read_gbs REAL NOT NULL,          -- as first measured; each attempt keeps the rates of its own run
  peak_gflops REAL NOT NULL,
  created TEXT NOT NULL
) STRICT;

CREATE TABLE study (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  yaml_text TEXT NOT NULL,
  plan_hash TEXT NOT NULL,
  command TEXT NOT NULL,
  created TEXT NOT NULL,
  UNIQUE (name, plan_hash)
) STRICT;

-- One process that worked on a study. Which process it was tells a later one whether the attempts
-- it left running can still end.
CREATE TABLE run (
  id INTEGER PRIMARY KEY,
  study INTEGER NOT NULL REFERENCES study (id),
  command TEXT NOT NULL,
  yaml_text TEXT NOT NULL,
  started TEXT NOT NULL,
  host TEXT NOT NULL,
  boot_id TEXT NOT NULL,
  pid_namespace TEXT NOT NULL,
  pid INTEGER NOT NULL,
  pid_started INTEGER NOT NULL     -- clock ticks since boot
) STRICT;
CREATE INDEX run_study ON run (study);
)sql",
                     flag("graph"), flag("experts_fused"), flag("fp8_activations"),
                     flag("half_activations"), flag("dependent_launch"));
}

std::string case_table() {
  return fmt::format(
      R"sql(
CREATE TABLE layer_case (
  study INTEGER NOT NULL REFERENCES study (id),
  ordinal INTEGER NOT NULL,
  id TEXT NOT NULL,                -- hash of canonical
  canonical TEXT NOT NULL,
  model TEXT NOT NULL,
  hidden INTEGER NOT NULL,
  intermediate INTEGER NOT NULL,
  experts INTEGER NOT NULL,
  top_k INTEGER NOT NULL,
  score TEXT NOT NULL {score},
  {selection_bias},
  groups INTEGER NOT NULL,
  groups_kept INTEGER NOT NULL,
  group_score TEXT NOT NULL {group_score},
  {renormalize},
  scaling REAL NOT NULL,
  shared_count INTEGER NOT NULL,
  shared_width INTEGER NOT NULL,
  shared_weight TEXT NOT NULL {shared_weight},
  shared_constant REAL NOT NULL,
  dtype TEXT NOT NULL {dtype},
  activations TEXT NOT NULL {activations},
  variant_gate TEXT NOT NULL {gate},
  variant_topk TEXT NOT NULL {topk},
  variant_shared TEXT NOT NULL {shared},
  variant_experts TEXT NOT NULL {experts},
  variant_launch TEXT NOT NULL {launch},
  variant TEXT NOT NULL GENERATED ALWAYS AS (variant_gate || '/' || variant_topk || '/' ||
    variant_shared || '/' || variant_experts || '/' || variant_launch) VIRTUAL,
  tokens INTEGER NOT NULL,
  tp INTEGER NOT NULL,
  routing TEXT NOT NULL,           -- as the sweep spells it: zipf(1.2)
  routing_kind TEXT NOT NULL {routing_kind},
  routing_parameter REAL NOT NULL,
  routing_trace TEXT NOT NULL,
  routing_trace_hash TEXT NOT NULL,
  cache TEXT NOT NULL {cache},
  device TEXT NOT NULL,
  seed INTEGER NOT NULL,           -- the 64 bits as a signed number
  {baseline},
  state TEXT NOT NULL {state},
  reason TEXT NOT NULL,
  PRIMARY KEY (study, id),
  UNIQUE (study, ordinal)
) STRICT;
)sql",
      fmt::arg("score", one_of<ScoreFunction>("score")),
      fmt::arg("selection_bias", flag("selection_bias")),
      fmt::arg("group_score", one_of<GroupScore>("group_score")),
      fmt::arg("renormalize", flag("renormalize")),
      fmt::arg("shared_weight", one_of<SharedWeight>("shared_weight")),
      fmt::arg("dtype", one_of<DType>("dtype")),
      fmt::arg("activations", one_of<Activations>("activations")),
      fmt::arg("gate", one_of<Gate>("variant_gate")),
      fmt::arg("topk", one_of<Topk>("variant_topk")),
      fmt::arg("shared", one_of<Shared>("variant_shared")),
      fmt::arg("experts", one_of<Experts>("variant_experts")),
      fmt::arg("launch", one_of<Launch>("variant_launch")),
      fmt::arg("routing_kind", one_of<RoutingKind>("routing_kind")),
      fmt::arg("cache", one_of<Cache>("cache")), fmt::arg("baseline", flag("baseline")),
      fmt::arg("state", one_of<CaseState>("state")));
}

std::string attempt_tables() {
  return fmt::format(R"sql(
CREATE TABLE attempt (
  id INTEGER PRIMARY KEY,
  study INTEGER NOT NULL REFERENCES study (id),
  run INTEGER NOT NULL REFERENCES run (id),
  environment INTEGER NOT NULL REFERENCES environment (id),
  level TEXT NOT NULL CHECK (level IN ('step', 'layer')),
  case_id TEXT,                    -- layer attempts
  step_key TEXT,                   -- step attempts
  workload TEXT NOT NULL,
  kernel TEXT NOT NULL,
  tile TEXT NOT NULL,              -- "rows=4 depth=512"
  tile_axes TEXT NOT NULL CHECK (json_valid(tile_axes)),  -- the same, for json_extract
  status TEXT NOT NULL {status},
  verified INTEGER NOT NULL DEFAULT 0 CHECK (verified IN (0, 1)),
  reason TEXT NOT NULL DEFAULT '',
  started TEXT NOT NULL,
  ended TEXT,
  rel_frobenius REAL,              -- NULL where the result was not finite
  worst REAL,
  bound REAL,
  first_bad TEXT,
  median_us REAL,
  lo_us REAL,                      -- NULL below six samples, where no 95 % interval exists
  hi_us REAL,
  n INTEGER NOT NULL DEFAULT 0,
  bytes REAL,
  flops REAL,
  floor_us REAL,
  read_gbs REAL,                   -- the rates floor_us was computed from
  peak_gflops REAL,
  weight_sets INTEGER,             -- rotated over while measuring
  rotation_shortfall_bytes INTEGER,  -- what they lack to twice the last-level cache
  load_histogram TEXT CHECK (load_histogram IS NULL OR json_valid(load_histogram)),
  distinct_experts REAL,
  max_over_mean_load REAL,
  routing_agreement REAL,
  FOREIGN KEY (study, case_id) REFERENCES layer_case (study, id),
  CHECK ((level = 'layer') = (case_id IS NOT NULL)),
  CHECK ((level = 'step') = (step_key IS NOT NULL)),
  CHECK ((status = 'running') = (ended IS NULL)),
  CHECK (status <> 'measured' OR (n > 0 AND coalesce(median_us > 0, 0))),
  CHECK (verified = 0 OR (status IN ('measured', 'suspect') AND coalesce(first_bad = '', 0) AND
    coalesce(rel_frobenius <= bound, 0) AND (level = 'step' OR bound > 0)))
) STRICT;
CREATE INDEX attempt_step ON attempt (step_key, workload, environment, verified, median_us)
  WHERE level = 'step';
CREATE INDEX attempt_layer ON attempt (study, case_id, verified, status);
CREATE INDEX attempt_running ON attempt (run) WHERE status = 'running';

CREATE TABLE step_time (
  attempt INTEGER NOT NULL REFERENCES attempt (id),
  ordinal INTEGER NOT NULL,
  step TEXT NOT NULL,
  op TEXT NOT NULL,
  kernel TEXT NOT NULL,
  tile TEXT NOT NULL,
  tile_axes TEXT NOT NULL CHECK (json_valid(tile_axes)),
  median_us REAL,
  lo_us REAL,
  hi_us REAL,
  n INTEGER NOT NULL,
  bytes REAL,
  flops REAL,
  floor_us REAL,
  PRIMARY KEY (attempt, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE sample (
  attempt INTEGER NOT NULL REFERENCES attempt (id),
  round INTEGER NOT NULL CHECK (round >= 0),
  us REAL NOT NULL,
  PRIMARY KEY (attempt, round)
) STRICT, WITHOUT ROWID;

CREATE TABLE winner (
  level TEXT NOT NULL,
  key TEXT NOT NULL,               -- the attempt's case_id or step_key
  workload TEXT NOT NULL,
  environment INTEGER NOT NULL,
  attempt INTEGER NOT NULL UNIQUE,
  status TEXT NOT NULL DEFAULT 'measured' CHECK (status = 'measured'),
  verified INTEGER NOT NULL DEFAULT 1 CHECK (verified = 1),
  since TEXT NOT NULL,
  PRIMARY KEY (level, key, workload, environment),
  FOREIGN KEY (attempt, status, verified) REFERENCES attempt (id, status, verified)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX attempt_winner ON attempt (id, status, verified);
)sql",
                     fmt::arg("status", one_of<Status>("status", "'running'")));
}

// Foreign keys hold only in connections that ask for them; triggers hold in all, so what must never
// happen is said twice: a winner that was not verified, and a ledger that is rewritten.
std::string triggers() {
  constexpr std::string_view winner_check = R"sql(
CREATE TRIGGER winner_{0} BEFORE {1} ON winner
WHEN NOT EXISTS (SELECT 1 FROM attempt a WHERE a.id = NEW.attempt AND a.status = 'measured'
  AND a.verified = 1 AND a.level = NEW.level AND coalesce(a.case_id, a.step_key) = NEW.key
  AND a.workload = NEW.workload AND a.environment = NEW.environment)
BEGIN SELECT RAISE(ABORT, 'a winner must be a measured and verified attempt of its key'); END;
)sql";
  std::string sql =
      fmt::format(winner_check, "insert", "INSERT") + fmt::format(winner_check, "update", "UPDATE");
  for (const char* table : {"sample", "step_time"})
    for (const char* event : {"insert", "update"}) sql += fmt::format(closed_check, table, event);
  return sql + R"sql(
CREATE TRIGGER attempt_update BEFORE UPDATE ON attempt WHEN OLD.status <> 'running'
BEGIN SELECT RAISE(ABORT, 'a closed attempt never changes'); END;

CREATE TRIGGER attempt_replace BEFORE INSERT ON attempt
WHEN EXISTS (SELECT 1 FROM attempt WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'an attempt is never replaced'); END;

CREATE TRIGGER attempt_delete BEFORE DELETE ON attempt
WHEN EXISTS (SELECT 1 FROM winner WHERE attempt = OLD.id)
BEGIN SELECT RAISE(ABORT, 'a winner''s attempt is never deleted'); END;
)sql";
}

std::string views() {
  return R"sql(
-- The fastest verified layer of every case that has one.
CREATE VIEW v_best AS
SELECT s.name AS study_name, c.*, a.id AS attempt, a.median_us AS layer_time_us, a.lo_us, a.hi_us,
  a.n, a.floor_us, a.rel_frobenius, a.bound, a.environment
FROM layer_case c JOIN study s ON s.id = c.study
JOIN attempt a ON a.id = (SELECT b.id FROM attempt b WHERE b.study = c.study AND b.case_id = c.id
  AND b.verified = 1 AND b.status = 'measured' ORDER BY b.median_us, b.id LIMIT 1);

-- Every attempt that ended without a usable number, newest first.
CREATE VIEW v_failures AS
SELECT a.id AS attempt, s.name AS study_name, a.level, c.model, c.variant, c.tokens, a.step_key,
  a.kernel, a.tile, a.status, a.reason, a.first_bad, a.rel_frobenius, a.bound, a.started
FROM attempt a JOIN study s ON s.id = a.study
LEFT JOIN layer_case c ON c.study = a.study AND c.id = a.case_id
WHERE a.status <> 'running' AND NOT (a.status = 'measured' AND a.verified = 1)
ORDER BY a.id DESC;
)sql";
}

}  // namespace

std::string schema_statements(int version) {
  check(version >= 1 && version <= kSchemaVersion, "a schema version that exists");
  if (version > 1) return later_statements(version);
  return provenance_tables() + case_table() + attempt_tables() + triggers() + views();
}

}  // namespace fse
