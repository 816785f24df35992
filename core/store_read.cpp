#include <nlohmann/json.hpp>

#include "core/store.h"
#include "core/store_sql.h"

namespace fse {

namespace {

Summary read_summary(SQLite::Statement& q) {
  return {.median = real(q, "median_us"),
          .lo = real(q, "lo_us"),
          .hi = real(q, "hi_us"),
          .n = integer(q, "n")};
}

// Every column of `attempt`; steps and samples are tables of their own.
AttemptRecord read_attempt(SQLite::Statement& q) {
  AttemptRecord a;
  a.id = integer(q, "id");
  a.environment = integer(q, "environment");
  a.run = integer(q, "run");
  a.case_id = text(q, "case_id");
  a.step_key = text(q, "step_key");
  a.workload = text(q, "workload");
  a.kernel = text(q, "kernel");
  a.tile = tile_from_text(text(q, "tile"));
  a.outcome.status = named<Status>(q, "status");
  a.outcome.reason = text(q, "reason");
  a.outcome.accuracy = {.rel_frobenius = real(q, "rel_frobenius"),
                        .worst = real(q, "worst"),
                        .bound = real(q, "bound"),
                        .first_bad = text(q, "first_bad")};
  a.time_us = read_summary(q);
  a.bytes = real(q, "bytes");
  a.flops = real(q, "flops");
  a.floor_us = real(q, "floor_us");
  a.read_gbs = real(q, "read_gbs");
  a.peak_gflops = real(q, "peak_gflops");
  a.weight_sets = static_cast<int>(integer(q, "weight_sets"));
  a.rotation_shortfall_bytes = integer(q, "rotation_shortfall_bytes");
  if (has_column(q, "role")) {  // since version 9
    a.role = text(q, "role");
    a.load_rounds = integer(q, "load_rounds");
    a.confirm_tries = static_cast<int>(integer(q, "confirm_tries"));
  }
  a.distinct_experts = real(q, "distinct_experts");
  a.max_over_mean_load = real(q, "max_over_mean_load");
  a.routing_agreement = real(q, "routing_agreement");
  if (has_column(q, "registers") && !q.getColumn("registers").isNull())  // since version 2
    a.outcome.resources = {.registers = static_cast<int>(integer(q, "registers")),
                           .lds_bytes = static_cast<int>(integer(q, "lds_bytes")),
                           .spill_bytes = static_cast<int>(integer(q, "spill_bytes"))};
  if (has_column(q, "peak_bytes") && !q.getColumn("peak_bytes").isNull())  // since version 7
    a.outcome.peak_bytes = integer(q, "peak_bytes");
  const std::string histogram = text(q, "load_histogram");
  if (!histogram.empty())
    a.load_histogram = nlohmann::json::parse(histogram).get<std::vector<int64_t>>();
  return a;
}

std::vector<double> read_samples(SQLite::Database& db, const std::string& table, int64_t attempt) {
  std::vector<double> samples_us;
  auto q = query(db, "SELECT us FROM " + table + " WHERE attempt = ? ORDER BY round", {attempt});
  while (q.executeStep()) samples_us.push_back(q.getColumn(0).getDouble());
  return samples_us;
}

std::vector<double> read_control(SQLite::Database& db, int64_t attempt) {
  if (!db.tableExists("control_sample")) return {};  // before version 4
  return read_samples(db, "control_sample", attempt);
}

void read_steps(SQLite::Database& db, AttemptRecord& a) {
  auto q = query(db, "SELECT * FROM step_time WHERE attempt = ? ORDER BY ordinal", {a.id});
  while (q.executeStep())
    a.steps.push_back({.step = text(q, "step"),
                       .op = text(q, "op"),
                       .kernel = text(q, "kernel"),
                       .tile = tile_from_text(text(q, "tile")),
                       .time_us = read_summary(q),
                       .bytes = real(q, "bytes"),
                       .flops = real(q, "flops"),
                       .floor_us = real(q, "floor_us")});
}

void read_trials(SQLite::Database& db, AttemptRecord& a) {
  auto q = query(db, "SELECT * FROM joint_trial WHERE attempt = ? ORDER BY ordinal", {a.id});
  while (q.executeStep())
    a.trials.push_back({.step = text(q, "step"),
                        .kernel = text(q, "kernel"),
                        .tile = tile_from_text(text(q, "tile")),
                        .ratio = {.median = real(q, "ratio"),
                                  .lo = real(q, "lo"),
                                  .hi = real(q, "hi"),
                                  .n = integer(q, "n")},
                        .taken = integer(q, "taken") != 0,
                        .status = has_column(q, "status") ? named<Status>(q, "status")  // since 9
                                                          : Status::measured,
                        .reason = has_column(q, "reason") ? text(q, "reason") : ""});
}

std::vector<AttemptRecord> with_samples(SQLite::Database& db, std::vector<AttemptRecord> all) {
  for (AttemptRecord& a : all) a.outcome.samples_us = read_samples(db, "sample", a.id);
  return all;
}

// "grouped_stage1 tokens=4 hidden=..." without its token count.
std::string without_tokens(std::string step_key) {
  constexpr std::string_view kName = " tokens=";
  const size_t at = step_key.find(kName);
  if (at == std::string::npos) return step_key;
  const size_t end = step_key.find(' ', at + kName.size());
  return step_key.erase(at, end == std::string::npos ? end : end - at);
}

}  // namespace

bool was_interrupted(const Outcome& outcome) {
  return outcome.status == Status::crashed && outcome.reason.starts_with("interrupted: ");
}

std::optional<AttemptRecord> Store::step_winner(int64_t study, const std::string& step_key,
                                                const std::string& workload,
                                                int64_t environment) const {
  return guarded(file_, "reading a step's winner", [&]() -> std::optional<AttemptRecord> {
    auto q = query(*db_,
                   "SELECT a.* FROM attempt a JOIN winner w ON w.attempt = a.id "
                   "WHERE w.level = 'step' AND w.key = ? AND w.workload = ? "
                   "AND w.environment = ? AND a.study = ?",
                   {step_key, workload, environment, study});
    if (!q.executeStep()) return std::nullopt;
    return read_attempt(q);
  });
}

std::optional<Store::EarlierWinner> Store::earlier_winner(const std::string& level,
                                                          const std::string& key,
                                                          const std::string& workload,
                                                          int64_t environment,
                                                          int64_t study) const {
  return guarded(file_, "reading an earlier winner", [&]() -> std::optional<EarlierWinner> {
    auto q = query(
        *db_,
        "SELECT a.*, s.name AS study_name, w.since AS since FROM winner w "
        "JOIN attempt a ON a.id = w.attempt JOIN study s ON s.id = a.study "
        "JOIN environment e ON e.id = w.environment JOIN environment mine ON "
        "(mine.device, mine.kind, mine.arch, mine.product, mine.compute_units) = "
        "(e.device, e.kind, e.arch, e.product, e.compute_units) "
        "WHERE w.level = ? AND w.key = ? AND w.workload = ? AND mine.id = ? AND "
        "NOT (e.id = mine.id AND a.study = ?) ORDER BY e.id = mine.id DESC, w.since DESC LIMIT 1",
        {level, key, workload, environment, study});
    if (!q.executeStep()) return std::nullopt;
    EarlierWinner found{
        .record = read_attempt(q), .study = text(q, "study_name"), .since = text(q, "since")};
    read_steps(*db_, found.record);
    return found;
  });
}

std::vector<AttemptRecord> Store::step_attempts(const std::string& step_key,
                                                const std::string& workload,
                                                int64_t environment) const {
  return guarded(file_, "reading step attempts", [&] {
    std::vector<AttemptRecord> all;
    auto q = query(*db_,
                   "SELECT * FROM attempt WHERE level = 'step' AND step_key = ? AND workload = ? "
                   "AND environment = ? AND status <> 'running' ORDER BY id",
                   {step_key, workload, environment});
    while (q.executeStep()) all.push_back(read_attempt(q));
    return all;
  });
}

bool Store::tried_library(int64_t study) const {
  return guarded(file_, "looking for a library's attempts", [&] {
    auto q = query(*db_,
                   "SELECT 1 FROM attempt WHERE study = ? AND level = 'step' AND "
                   "kernel LIKE '%.library' LIMIT 1",
                   {study});
    return q.executeStep();
  });
}

std::map<std::string, int> Store::deaths(int64_t environment) const {
  return guarded(file_, "counting deaths", [&] {
    std::map<std::string, int> all;
    auto q = query(*db_,
                   "SELECT kernel, tile, count(*) AS deaths FROM attempt WHERE level = 'step' AND "
                   "environment = ? AND status IN ('crashed', 'timed_out') AND "
                   "reason NOT LIKE 'interrupted: %' GROUP BY kernel, tile",
                   {environment});
    while (q.executeStep())
      all[choice_text(text(q, "kernel"), tile_from_text(text(q, "tile")))] =
          static_cast<int>(integer(q, "deaths"));
    return all;
  });
}

std::optional<Store::StoredAttempt> Store::attempt(int64_t id) const {
  return guarded(file_, "reading an attempt", [&]() -> std::optional<StoredAttempt> {
    auto q = query(*db_, "SELECT * FROM attempt WHERE id = ? AND status <> 'running'", {id});
    if (!q.executeStep()) return std::nullopt;
    StoredAttempt found{.study = integer(q, "study"), .record = read_attempt(q)};
    found.record.outcome.samples_us = read_samples(*db_, "sample", id);
    found.record.control_us = read_control(*db_, id);
    read_steps(*db_, found.record);
    return found;
  });
}

std::optional<AttemptRecord> Store::layer_result(int64_t study, const std::string& case_id) const {
  return guarded(file_, "reading a layer", [&]() -> std::optional<AttemptRecord> {
    auto q = query(*db_,
                   "SELECT * FROM attempt WHERE study = ? AND case_id = ? AND verified = 1 "
                   "AND status = 'measured' ORDER BY id DESC LIMIT 1",
                   {study, case_id});
    if (!q.executeStep()) return std::nullopt;
    AttemptRecord newest = read_attempt(q);
    newest.outcome.samples_us = read_samples(*db_, "sample", newest.id);
    newest.control_us = read_control(*db_, newest.id);
    if (db_->tableExists("confirm_sample")) {  // since version 7
      newest.confirm_us = read_samples(*db_, "confirm_sample", newest.id);
      read_trials(*db_, newest);
    }
    read_steps(*db_, newest);
    return newest;
  });
}

std::vector<AttemptRecord> Store::layers_that_took(double median_us, int64_t attempt) const {
  return guarded(file_, "looking for equal times", [&] {
    std::vector<AttemptRecord> all;
    auto q = query(*db_,
                   "SELECT b.* FROM attempt a JOIN layer_case c ON c.study = a.study AND "
                   "c.id = a.case_id JOIN attempt b ON b.level = 'layer' AND b.median_us = ? AND "
                   "b.verified = 1 AND b.status = 'measured' AND b.study = a.study AND "
                   "b.environment = a.environment AND b.case_id <> a.case_id "
                   "JOIN layer_case d ON d.study = b.study AND d.id = b.case_id AND "
                   "d.variant = c.variant AND d.tokens <> c.tokens WHERE a.id = ? ORDER BY b.id",
                   {median_us, attempt});
    while (q.executeStep()) all.push_back(read_attempt(q));
    return with_samples(*db_, std::move(all));
  });
}

std::vector<AttemptRecord> Store::steps_that_took(double median_us,
                                                  const AttemptRecord& attempt) const {
  return guarded(file_, "looking for equal times", [&] {
    std::vector<AttemptRecord> all;
    auto q = query(*db_,
                   "SELECT b.* FROM attempt a JOIN attempt b ON b.level = 'step' AND "
                   "b.median_us = ? AND b.verified = 1 AND b.status = 'measured' AND "
                   "b.study = a.study AND b.environment = a.environment AND "
                   "b.workload = a.workload AND b.kernel = a.kernel AND b.tile = a.tile AND "
                   "b.step_key <> a.step_key WHERE a.id = ? ORDER BY b.id",
                   {median_us, attempt.id});
    while (q.executeStep())
      if (without_tokens(text(q, "step_key")) == without_tokens(attempt.step_key))
        all.push_back(read_attempt(q));
    return with_samples(*db_, std::move(all));
  });
}

}  // namespace fse
