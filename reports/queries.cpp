#include "reports/queries.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sqlite3.h>

#include <algorithm>

#include "core/error.h"
#include "core/sql_functions.h"
#include "core/store_error.h"
#include "core/strict_json.h"
#include "reports/rival_rows.h"

namespace fse {

namespace {

constexpr const char* kMeasured = "a.verified = 1 AND a.status = 'measured'";

template <class F>
Grid asked(const Store& store, F work) {
  try {
    return work();
  } catch (const SQLite::Exception& e) {
    throw_store_error(e, store.file(), "querying");
  }
}

Grid ask(const Store& store, const std::string& sql, const Filter& filter) {
  return asked(store, [&] {
    SQLite::Statement q(store.database(), sql);
    int at = 0;
    for (const auto& parameter : filter.parameters)
      std::visit([&](const auto& value) { q.bind(++at, value); }, parameter);
    return read_grid(q);
  });
}

Grid ask(const Store& store, const std::string& sql, const std::string& id) {
  return ask(store, sql, Filter{.where = "", .parameters = {id}});
}

bool is_number(const std::string& text) {
  return !text.empty() && text.size() < 19 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// A row as a column and a value per row: wide rows are unreadable.
Grid transposed(const Grid& grid) {
  Grid tall{.columns = {"column", "value"}, .rows = {}};
  for (const auto& row : grid.rows)
    for (size_t c = 0; c < row.size(); ++c) tall.rows.push_back({grid.columns[c], row[c]});
  return tall;
}

// VACUUM INTO writes a file even over a read-only connection.
bool only_reads(SQLite::Database& db, const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  sqlite3_prepare_v2(db.getHandle(), sql.c_str(), -1, &statement, nullptr);
  const bool reads = statement && sqlite3_stmt_readonly(statement) != 0;
  sqlite3_finalize(statement);
  return reads;
}

}  // namespace

Grid list_studies(const Store& store, const Filter& filter) {
  return ask(store,
             fmt::format(
                 "SELECT s.id AS study_id, s.name AS study, s.created, "
                 "(SELECT count(*) FROM layer_case k WHERE k.study = s.id) AS cases, "
                 "(SELECT count(*) FROM layer_case k WHERE k.study = s.id AND k.state = 'done') AS "
                 "done, "
                 "(SELECT count(*) FROM layer_case k WHERE k.study = s.id AND k.state = 'failed') "
                 "AS failed, "
                 "(SELECT count(*) FROM layer_case k WHERE k.study = s.id AND k.state = 'refused') "
                 "AS refused, "
                 "(SELECT count(*) FROM layer_case k WHERE k.study = s.id AND k.state = 'pending') "
                 "AS pending, "
                 "(SELECT count(*) FROM attempt b WHERE b.study = s.id) AS attempts "
                 "FROM study s WHERE {} ORDER BY s.id",
                 filter.where == "1" ? "1"
                                     : fmt::format("s.id IN (SELECT a.study FROM {} WHERE {})",
                                                   kFilterRows, filter.where)),
             filter);
}

Grid list_cases(const Store& store, const Filter& filter) {
  return ask(
      store,
      fmt::format("SELECT c.id AS case_id, s.name AS study, c.model, c.dtype, c.tp, c.tokens, "
                  "c.variant, c.baseline, c.state, min(CASE WHEN {} THEN a.median_us END) AS "
                  "layer_time_us, count(a.id) AS attempts, c.reason "
                  "FROM layer_case c JOIN study s ON s.id = c.study "
                  "LEFT JOIN attempt a ON a.study = c.study AND a.case_id = c.id "
                  "LEFT JOIN environment e ON e.id = a.environment "
                  "WHERE {} GROUP BY c.study, c.id ORDER BY c.study, c.ordinal",
                  kMeasured, filter.where),
      filter);
}

// First the fastest attempt of every case and environment, from the index alone. A filter about the
// attempts themselves has to see each of them.
Grid best_layers(const Store& store, const Filter& filter) {
  const std::string rows =
      filter.of_attempts
          ? kFilterRows
          : fmt::format(
                "(SELECT id AS fastest, min(a.median_us) FROM attempt a WHERE level = "
                "'layer' AND {} GROUP BY study, case_id, environment) CROSS JOIN {}",
                kMeasured, kFilterRows);
  return ask(
      store,
      fmt::format("SELECT c.model, c.dtype, c.activations, c.tp, c.tokens, c.routing, c.cache, "
                  "e.device, e.product, c.variant, min(a.median_us) AS layer_time_us, a.lo_us, "
                  "a.hi_us, a.n, a.median_us / nullif(a.floor_us, 0) AS x_floor, a.rel_frobenius, "
                  "a.bound, a.id AS attempt, s.name AS study "
                  "FROM {} WHERE a.level = 'layer' AND {} AND {} AND {} "
                  "GROUP BY c.model, c.dtype, c.activations, c.tp, c.tokens, c.routing, c.cache, "
                  "c.seed, e.device, e.product "
                  "ORDER BY c.model, c.dtype, c.activations, c.tp, e.device, c.routing, c.tokens",
                  rows, filter.of_attempts ? "1" : "a.id = fastest", kMeasured, filter.where),
      filter);
}

Grid top_attempts(const Store& store, const Filter& filter, const std::string& level, int64_t n) {
  const char* what = level == "layer" ? "c.model, c.dtype, c.tp, c.tokens, c.variant"
                                      : "a.step_key, a.workload, a.kernel, a.tile";
  return ask(
      store,
      fmt::format("SELECT a.id AS attempt, {}, e.device, a.median_us AS time_us, a.lo_us, a.hi_us, "
                  "a.n, a.median_us / nullif(a.floor_us, 0) AS x_floor, a.rel_frobenius, a.bound, "
                  "s.name AS study FROM {} WHERE a.level = '{}' AND {} AND {} "
                  "ORDER BY a.median_us, a.id LIMIT {}",
                  what, kFilterRows, level, kMeasured, filter.where, n),
      filter);
}

Grid count_failures(const Store& store, const Filter& filter) {
  return ask(
      store,
      fmt::format("SELECT a.status, a.level, a.kernel, CASE WHEN a.reason <> '' THEN a.reason ELSE "
                  "coalesce(a.first_bad, '') END AS why, count(*) AS attempts, max(a.id) AS newest "
                  "FROM {} WHERE a.status <> 'running' AND NOT ({}) AND {} "
                  "GROUP BY a.status, a.level, a.kernel, why "
                  "ORDER BY attempts DESC, a.status, a.level, a.kernel, why",
                  kFilterRows, kMeasured, filter.where),
      filter);
}

Grid coverage(const Store& store, const Filter& filter) {
  return ask(
      store,
      fmt::format("SELECT study, model, dtype, device, variant, count(*) AS cases, "
                  "sum(state = 'done') AS done, sum(state = 'failed') AS failed, "
                  "sum(state = 'refused') AS refused, sum(state = 'pending') AS pending, "
                  "group_concat(CASE WHEN state = 'done' THEN tokens END, ' ') AS tokens_done "
                  "FROM (SELECT DISTINCT s.name AS study, c.study AS study_id, c.id, c.model, "
                  "c.dtype, c.device, c.variant, c.tokens, c.state FROM layer_case c "
                  "JOIN study s ON s.id = c.study "
                  "LEFT JOIN attempt a ON a.study = c.study AND a.case_id = c.id "
                  "LEFT JOIN environment e ON e.id = a.environment WHERE {} ORDER BY c.tokens) "
                  "GROUP BY study_id, model, dtype, device, variant "
                  "ORDER BY study_id, model, dtype, device, variant",
                  filter.where),
      filter);
}

Grid show(const Store& store, const std::string& id) {
  Grid found;
  if (is_number(id))
    found =
        ask(store,
            "SELECT a.*, e.device, e.product, e.compiler, e.git_revision, s.name AS study_name, "
            "r.command FROM attempt a JOIN environment e ON e.id = a.environment "
            "JOIN study s ON s.id = a.study JOIN run r ON r.id = a.run "
            "WHERE a.id = CAST(? AS INTEGER)",
            id);
  if (found.rows.empty())
    found = ask(store,
                "SELECT c.*, s.name AS study_name FROM layer_case c JOIN study s ON s.id = c.study "
                "WHERE c.id = ? ORDER BY c.study DESC LIMIT 1",
                id);
  if (found.rows.empty())
    found = ask(store, "SELECT * FROM study WHERE name = ? ORDER BY id DESC LIMIT 1", id);
  if (found.rows.empty())
    fail_usage(
        fmt::format("{}: nothing is called '{}', expected an attempt's number, a case's id "
                    "(fselab db ls --cases) or a study's name",
                    store.file(), printable(id)));
  return transposed(found);
}

Grid show_steps(const Store& store, const std::string& id) {
  if (!is_number(id)) return {};
  Grid steps = ask(store,
                   "SELECT step, op, kernel, tile, median_us AS time_us, lo_us, hi_us, n, bytes, "
                   "flops, floor_us FROM step_time WHERE attempt = CAST(? AS INTEGER) "
                   "ORDER BY ordinal",
                   id);
  if (!steps.rows.empty()) add_rivals(store, std::stoll(id), steps);
  return steps;
}

Grid list_counters(const Store& store, const std::vector<std::string>& conditions) {
  const std::vector<std::string> known{"device",      "arch",   "product", "git_revision",
                                       "environment", "kernel", "step_key"};
  for (const std::string& condition : conditions) {
    const std::string name = condition.substr(0, condition.find_first_of("=!<>~"));
    if (std::find(known.begin(), known.end(), name) == known.end())
      fail_usage(fmt::format("filter '{}': counters have no such column, expected one of {}",
                             printable(condition), fmt::join(known, ", ")));
  }
  if (!store.database().tableExists("kernel_count"))  // before version 8
    return {.columns = {"device"}, .rows = {}};
  const Filter filter = parse_filter(conditions);
  return ask(store,
             fmt::format("SELECT e.device, a.step_key, a.workload, a.kernel, a.tile, a.pairs, "
                         "a.active_experts, a.bytes, a.flops, a.loaded_bytes, a.stored_bytes, "
                         "a.loaded_lines, a.stored_lines, a.lds_cycles, a.lds_conflicts, "
                         "a.matrix_instructions, a.matrix_flops, a.wave_accesses, "
                         "a.divergent_accesses, a.finding FROM kernel_count a "
                         "JOIN environment e ON e.id = a.environment WHERE {} "
                         "ORDER BY a.counted DESC, a.rowid DESC",
                         filter.where),
             filter);
}

Grid run_sql(const Store& store, const std::string& sql) {
  SQLite::Database& db = store.database();
  check(add_sql_functions(db.getHandle()) == SQLITE_OK, "SQLite takes fselab's functions");
  try {
    SQLite::Statement q(db, sql);
    if (!only_reads(db, sql))
      fail_usage("sql: the statement writes; the connection is read-only, expected a SELECT");
    return read_grid(q);
  } catch (const SQLite::Exception& e) {
    const int code = e.getErrorCode();
    if (code == SQLITE_ERROR || code == SQLITE_RANGE || code == SQLITE_READONLY ||
        code == SQLITE_CANTOPEN)  // ATTACH of a file that is not there
      fail_usage(fmt::format("sql: {}", e.what()));
    throw_store_error(e, store.file(), "sql");
  }
}

Grid check_store(const Store& store) {
  Grid all{.columns = {"finding", "count", "example"}, .rows = {}};
  const auto add = [&](const Grid& part) {
    all.rows.insert(all.rows.end(), part.rows.begin(), part.rows.end());
  };
  const Filter none{.where = "", .parameters = {}};
  add(ask(store,
          "SELECT 'damaged: ' || integrity_check, 1, NULL FROM pragma_integrity_check "
          "WHERE integrity_check <> 'ok'",
          none));
  add(ask(store,
          "SELECT 'orphan: a row of ' || \"table\" || ' refers to no row of ' || parent, count(*), "
          "min(rowid) FROM pragma_foreign_key_check GROUP BY \"table\", parent",
          none));
  add(ask(store,
          "SELECT 'measured without samples', count(*), min(id) FROM attempt a WHERE "
          "status = 'measured' AND NOT EXISTS (SELECT 1 FROM sample WHERE attempt = a.id) "
          "HAVING count(*) > 0",
          none));
  add(ask(store,
          "SELECT 'a case is done without a verified layer', count(*), min(id) FROM layer_case c "
          "WHERE state = 'done' AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.study = c.study "
          "AND a.case_id = c.id AND a.verified = 1) HAVING count(*) > 0",
          none));
  return all;
}

}  // namespace fse
