#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/store.h"
#include "core/store_sql.h"

namespace fse {

namespace {

std::string axes_json(const Tile& tile) {
  nlohmann::json axes = nlohmann::json::object();
  for (const auto& [name, value] : tile.axes) axes[name] = value;
  return json_text(axes);
}

// Whether the attempt, which must be open, is a layer's.
bool is_open_layer(SQLite::Database& db, int64_t attempt) {
  auto q = query(db, "SELECT status, level FROM attempt WHERE id = ?", {attempt});
  const std::string status = q.executeStep() ? text(q, "status") : "missing";
  check(status == "running", fmt::format("attempt {} is running, not {}", attempt, status));
  return text(q, "level") == "layer";
}

bool is_verified(const AttemptRecord& r, bool layer) {
  const Accuracy& a = r.outcome.accuracy;
  const bool ran = r.outcome.status == Status::measured || r.outcome.status == Status::suspect;
  return ran && a.ok() && a.rel_frobenius <= a.bound && (!layer || a.bound > 0);
}

void add_samples(SQLite::Database& db, const std::string& table, int64_t attempt,
                 const std::vector<double>& samples_us) {
  SQLite::Statement insert(db, "INSERT INTO " + table + " (attempt, round, us) VALUES (?, ?, ?)");
  for (size_t round = 0; round < samples_us.size(); ++round) {
    if (!std::isfinite(samples_us[round]))
      fail_data(fmt::format("{}: attempt {}: sample {} is {}, expected a finite time in us",
                            db.getFilename(), attempt, round, samples_us[round]));
    insert.bind(1, attempt);
    insert.bind(2, static_cast<int64_t>(round));
    insert.bind(3, samples_us[round]);
    insert.exec();
    insert.reset();
  }
}

Row summary_columns(const Summary& s) {
  return {{"median_us", real_or_null(s.median)},
          {"lo_us", real_or_null(s.lo)},
          {"hi_us", real_or_null(s.hi)},
          {"n", s.n}};
}

Row cost_columns(double bytes, double flops, double floor_us) {
  return {{"bytes", real_or_null(bytes)},
          {"flops", real_or_null(flops)},
          {"floor_us", real_or_null(floor_us)}};
}

Row joined(Row a, const Row& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

void add_steps(SQLite::Database& db, int64_t attempt, const std::vector<StepTime>& steps) {
  int64_t ordinal = 0;
  for (const StepTime& s : steps)
    insert(db, "step_time",
           joined(joined({{"attempt", attempt},
                          {"ordinal", ordinal++},
                          {"step", s.step},
                          {"op", s.op},
                          {"kernel", s.kernel},
                          {"tile", to_text(s.tile)},
                          {"tile_axes", axes_json(s.tile)}},
                         summary_columns(s.time_us)),
                  cost_columns(s.bytes, s.flops, s.floor_us)));
}

void add_trials(SQLite::Database& db, int64_t attempt, const std::vector<JointTrial>& trials) {
  int64_t ordinal = 0;
  for (const JointTrial& t : trials)
    insert(db, "joint_trial",
           {{"attempt", attempt},
            {"ordinal", ordinal++},
            {"step", t.step},
            {"kernel", t.kernel},
            {"tile", to_text(t.tile)},
            {"ratio", real_or_null(t.ratio.median)},
            {"lo", real_or_null(t.ratio.lo)},
            {"hi", real_or_null(t.ratio.hi)},
            {"n", t.ratio.n},
            {"taken", int64_t{t.taken}},
            {"status", to_name(t.status)},
            {"reason", t.reason}});
}

Row closing_columns(const AttemptRecord& r, bool layer) {
  const Accuracy& a = r.outcome.accuracy;
  Row row = {{"status", to_name(r.outcome.status)},
             {"verified", int64_t{is_verified(r, layer)}},
             {"reason", r.outcome.reason},
             {"ended", utc_now()},
             {"rel_frobenius", real_or_null(a.rel_frobenius)},
             {"worst", real_or_null(a.worst)},
             {"bound", real_or_null(a.bound)},
             {"first_bad", a.first_bad},
             {"read_gbs", real_or_null(r.read_gbs > 0 ? r.read_gbs : NAN)},
             {"peak_gflops", real_or_null(r.peak_gflops > 0 ? r.peak_gflops : NAN)},
             {"weight_sets", int64_t{r.weight_sets}},
             {"rotation_shortfall_bytes", r.rotation_shortfall_bytes},
             {"load_rounds", r.load_rounds},
             {"confirm_tries", int64_t{r.confirm_tries}},
             {"distinct_experts", real_or_null(r.distinct_experts)},
             {"max_over_mean_load", real_or_null(r.max_over_mean_load)},
             {"routing_agreement", real_or_null(r.routing_agreement)}};
  if (const auto& needs = r.outcome.resources)
    row.insert(row.end(), {{"registers", int64_t{needs->registers}},
                           {"lds_bytes", int64_t{needs->lds_bytes}},
                           {"spill_bytes", int64_t{needs->spill_bytes}}});
  if (r.outcome.peak_bytes > 0) row.emplace_back("peak_bytes", r.outcome.peak_bytes);
  if (!r.load_histogram.empty())
    row.emplace_back("load_histogram", json_text(nlohmann::json(r.load_histogram)));
  return joined(joined(row, summary_columns(summarize(r.outcome.samples_us))),
                cost_columns(r.bytes, r.flops, r.floor_us));
}

}  // namespace

int64_t Store::begin_attempt(int64_t study, int64_t environment, const AttemptRecord& what) {
  const bool layer = !what.case_id.empty();
  check(layer == what.step_key.empty(), "an attempt has either a case_id or a step_key");
  return guarded(file_, "beginning an attempt", [&] {
    SQLite::Transaction transaction(*db_, SQLite::TransactionBehavior::IMMEDIATE);
    const int64_t run = run_of(study);
    update(*db_, "run", {{"heartbeat", utc_now()}}, run);
    const Row row = {{"study", study},
                     {"run", run},
                     {"environment", environment},
                     {"level", layer ? "layer" : "step"},
                     {layer ? "case_id" : "step_key", layer ? what.case_id : what.step_key},
                     {"workload", what.workload},
                     {"kernel", what.kernel},
                     {"tile", to_text(what.tile)},
                     {"tile_axes", axes_json(what.tile)},
                     {"role", what.role},
                     {"status", "running"},
                     {"started", utc_now()}};
    const int64_t id = insert(*db_, "attempt", row);
    transaction.commit();
    return id;
  });
}

// Runs inside the caller's transaction, like mark_winner().
void Store::close_attempt(int64_t attempt, const AttemptRecord& result) {
  const bool layer = is_open_layer(*db_, attempt);
  add_samples(*db_, "sample", attempt, result.outcome.samples_us);
  add_samples(*db_, "control_sample", attempt, result.control_us);
  add_samples(*db_, "confirm_sample", attempt, result.confirm_us);
  add_trials(*db_, attempt, result.trials);
  check(result.outcome.status != Status::measured || median(result.outcome.samples_us) > 0,
        fmt::format("attempt {}: measured means samples with a positive median", attempt));
  add_steps(*db_, attempt, result.steps);
  update(*db_, "attempt", closing_columns(result, layer), attempt);
}

void Store::mark_winner(int64_t attempt) {
  const int winners =
      query(*db_,
            "INSERT OR REPLACE INTO winner (level, key, workload, environment, attempt, status, "
            "verified, since) SELECT level, coalesce(case_id, step_key), workload, environment, "
            "id, status, verified, ? FROM attempt WHERE id = ?",
            {utc_now(), attempt})
          .exec();
  check(winners == 1, fmt::format("attempt {} exists", attempt));
}

void Store::finish_attempt(int64_t attempt, const AttemptRecord& result) {
  guarded(file_, fmt::format("closing attempt {}", attempt), [&] {
    SQLite::Transaction transaction(*db_, SQLite::TransactionBehavior::IMMEDIATE);
    close_attempt(attempt, result);
    transaction.commit();
  });
}

void Store::finish_finals(const std::vector<AttemptRecord>& results, int64_t winner) {
  guarded(file_, "closing finals", [&] {
    SQLite::Transaction transaction(*db_, SQLite::TransactionBehavior::IMMEDIATE);
    for (const AttemptRecord& result : results) close_attempt(result.id, result);
    if (winner != 0) mark_winner(winner);
    transaction.commit();
  });
}

void Store::finish_case(int64_t attempt, const AttemptRecord& result) {
  guarded(file_, fmt::format("closing the case of attempt {}", attempt), [&] {
    SQLite::Transaction transaction(*db_, SQLite::TransactionBehavior::IMMEDIATE);
    close_attempt(attempt, result);
    const bool done = result.outcome.status == Status::measured;
    if (done) mark_winner(attempt);
    const int cases =
        query(*db_,
              "UPDATE layer_case SET state = ?, reason = ? WHERE (study, id) = "
              "(SELECT study, case_id FROM attempt WHERE id = ?)",
              {to_name(done ? CaseState::done : CaseState::failed), result.outcome.reason, attempt})
            .exec();
    check(cases == 1, fmt::format("attempt {} is of a case", attempt));
    query(*db_,
          "DELETE FROM claim WHERE (study, case_id) = "
          "(SELECT study, case_id FROM attempt WHERE id = ?)",
          {attempt})
        .exec();
    transaction.commit();
  });
}

void Store::set_winner(int64_t attempt) {
  guarded(file_, fmt::format("making attempt {} a winner", attempt), [&] {
    SQLite::Transaction transaction(*db_, SQLite::TransactionBehavior::IMMEDIATE);
    mark_winner(attempt);
    transaction.commit();
  });
}

}  // namespace fse
