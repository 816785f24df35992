#include <fmt/format.h>

#include <chrono>

#include "core/process_identity.h"
#include "core/store.h"
#include "core/store_sql.h"

namespace fse {

namespace {

// What makes two environments the same one.
Row environment_identity(const Environment& e) {
  const DeviceInfo& d = e.device;
  nlohmann::json dtypes = nlohmann::json::array();
  for (const DType t : d.dtypes) dtypes.push_back(to_name(t));
  return {{"device", d.name},
          {"kind", d.kind},
          {"arch", d.arch},
          {"product", d.product},
          {"compute_units", int64_t{d.compute_units}},
          {"llc_bytes", d.llc_bytes},
          {"dtypes", json_text(dtypes)},
          {"graph", int64_t{d.graph}},
          {"experts_fused", int64_t{d.experts_fused}},
          {"fp8_activations", int64_t{d.fp8_activations}},
          {"half_activations", int64_t{d.half_activations}},
          {"dependent_launch", int64_t{d.dependent_launch}},
          {"wave", int64_t{d.wave}},
          {"lds_bytes", d.lds_bytes},
          {"block_threads", int64_t{d.block_threads}},
          {"compiler", e.compiler},
          {"git_revision", e.git_revision},
          {"host_os", e.host_os}};
}

std::string hash_of(const Row& row) {
  std::string text;
  for (const auto& [column, value] : row) {
    const auto* number = std::get_if<int64_t>(&value);
    text += fmt::format("{}={}\n", column,
                        number ? std::to_string(*number) : std::get<std::string>(value));
  }
  return hash_text(text);
}

// Free memory and measured rates change from run to run and do not belong to the identity.
int64_t insert_environment(SQLite::Database& db, const Environment& e, Row row,
                           const std::string& hash) {
  row.insert(row.end(), {{"hash", hash},
                         {"memory_bytes", e.device.memory_bytes},
                         {"read_gbs", e.read_gbs},
                         {"peak_gflops", e.peak_gflops},
                         {"created", utc_now()}});
  return insert(db, "environment", row);
}

Row case_row(int64_t study, int64_t ordinal, const CaseRecord& record) {
  const Case& c = record.spec;
  const LayerSpec& l = c.layer;
  const RoutingSpec& r = l.routing;
  const Variant& v = c.variant;
  return {{"study", study},
          {"ordinal", ordinal},
          {"id", case_id(c)},
          {"canonical", canonical_text(c)},
          {"model", l.model},
          {"hidden", int64_t{l.hidden}},
          {"intermediate", int64_t{l.intermediate}},
          {"experts", int64_t{r.experts}},
          {"top_k", int64_t{r.top_k}},
          {"score", to_name(r.score)},
          {"selection_bias", int64_t{r.selection_bias}},
          {"groups", int64_t{r.groups}},
          {"groups_kept", int64_t{r.groups_kept}},
          {"group_score", to_name(r.group_score)},
          {"renormalize", int64_t{r.renormalize}},
          {"scaling", r.scaling},
          {"shared_count", int64_t{l.shared.count}},
          {"shared_width", int64_t{l.shared.shared_width}},
          {"shared_weight", to_name(l.shared.weight)},
          {"shared_constant", l.shared.constant},
          {"dtype", to_name(l.dtype)},
          {"activations", to_name(l.activations)},
          {"variant_gate", to_name(v.gate)},
          {"variant_topk", to_name(v.topk)},
          {"variant_shared", to_name(v.shared)},
          {"variant_experts", to_name(v.experts)},
          {"variant_launch", to_name(v.launch)},
          {"tokens", int64_t{c.tokens}},
          {"tp", int64_t{c.tp}},
          {"routing", to_text(c.routing)},
          {"routing_kind", to_name(c.routing.kind)},
          {"routing_parameter", c.routing.parameter},
          {"routing_trace", c.routing.trace.string()},
          {"routing_trace_hash", c.routing.trace_hash},
          {"cache", to_name(c.cache)},
          {"device", c.device},
          {"seed", static_cast<int64_t>(c.seed)},
          {"baseline", int64_t{record.baseline}},
          {"state", to_name(record.state)},
          {"reason", record.reason}};
}

}  // namespace

int64_t Store::add_environment(const Environment& e) {
  return guarded(file_, "adding an environment", [&] {
    SQLite::Transaction transaction(*db_, SQLite::TransactionBehavior::IMMEDIATE);
    const Row identity = environment_identity(e);
    const std::string hash = hash_of(identity);
    auto known = query(*db_, "SELECT id FROM environment WHERE hash = ?", {hash});
    const int64_t id =
        known.executeStep() ? integer(known, "id") : insert_environment(*db_, e, identity, hash);
    known.reset();
    transaction.commit();
    return id;
  });
}

namespace {

// A case that failed for what the machine lacked, not for a wrong result, is pending again: memory
// may be free now. Runs inside the caller's transaction.
void retry_environment_failures(SQLite::Database& db, int64_t study) {
  query(db,
        "UPDATE layer_case SET state = 'pending', reason = '' WHERE study = ? AND state = 'failed' "
        "AND (SELECT status FROM attempt a WHERE a.study = layer_case.study "
        "AND a.case_id = layer_case.id ORDER BY a.id DESC LIMIT 1) "
        "IN ('out_of_memory', 'launch_failed', 'timed_out', 'crashed')",
        {study})
      .exec();
}

}  // namespace

int64_t Store::add_study(const StudyRecord& study, const std::vector<CaseRecord>& cases) {
  return guarded(file_, "adding a study", [&] {
    SQLite::Transaction transaction(*db_, SQLite::TransactionBehavior::IMMEDIATE);
    close_interrupted();
    auto known = query(*db_, "SELECT id FROM study WHERE name = ? AND plan_hash = ?",
                       {study.name, study.plan_hash});
    int64_t id = 0;
    if (known.executeStep()) {
      id = integer(known, "id");
      known.reset();
      retry_environment_failures(*db_, id);
      query(*db_, "UPDATE study SET notes = ? WHERE id = ?", {json_text(study.notes), id}).exec();
    } else {
      id = insert(*db_, "study",
                  {{"name", study.name},
                   {"yaml_text", study.yaml_text},
                   {"plan_hash", study.plan_hash},
                   {"command", study.command},
                   {"created", utc_now()},
                   {"notes", json_text(study.notes)}});
      int64_t ordinal = 0;
      for (const CaseRecord& c : cases) insert(*db_, "layer_case", case_row(id, ordinal++, c));
    }
    const int64_t run = add_run(id, study);
    transaction.commit();
    runs_[id] = run;
    return id;
  });
}

int64_t Store::add_run(int64_t study, const StudyRecord& as) {
  const ProcessIdentity self = this_process();
  return insert(*db_, "run",
                {{"study", study},
                 {"command", as.command},
                 {"yaml_text", as.yaml_text},
                 {"started", utc_now()},
                 {"host", self.host},
                 {"boot_id", self.boot_id},
                 {"pid_namespace", self.pid_namespace},
                 {"pid", self.pid},
                 {"pid_started", self.pid_started}});
}

namespace {

// `q` holds a row of `run`. What cannot be looked up from here has to write now and then.
bool run_may_live(SQLite::Statement& q, const ProcessIdentity& self) {
  const ProcessIdentity owner{text(q, "host"), text(q, "boot_id"), text(q, "pid_namespace"),
                              integer(q, "pid"), integer(q, "pid_started")};
  if (!may_live(owner, self)) return false;
  if (owner.host == self.host && owner.pid_namespace == self.pid_namespace) return true;
  constexpr auto kSilence = std::chrono::hours(2);  // twice what a worker's deadlines allow
  const std::string beat = text(q, "heartbeat");
  return (beat.empty() ? text(q, "started") : beat) > utc_before_now(kSilence);
}

}  // namespace

// Runs inside the caller's transaction.
void Store::close_interrupted() {
  const ProcessIdentity self = this_process();
  std::vector<std::pair<int64_t, int64_t>> dead;  // run, pid
  auto q = query(*db_,
                 "SELECT DISTINCT run.* FROM attempt JOIN run ON run.id = attempt.run "
                 "WHERE attempt.status = 'running'",
                 {});
  while (q.executeStep())
    if (!run_may_live(q, self)) dead.emplace_back(integer(q, "id"), integer(q, "pid"));
  for (const auto& [run, pid] : dead)
    query(
        *db_,
        "UPDATE attempt SET status = 'crashed', reason = ?, ended = ? "
        "WHERE run = ? AND status = 'running'",
        {fmt::format("interrupted: process {} ended before the attempt did", pid), utc_now(), run})
        .exec();
}

int64_t Store::run_of(int64_t study) {
  if (!runs_.count(study)) runs_[study] = add_run(study, this->study(study));
  return runs_[study];
}

std::optional<std::vector<std::string>> Store::claim_cases(
    int64_t study, const std::vector<std::string>& case_ids) {
  using Claimed = std::optional<std::vector<std::string>>;
  return guarded(file_, "claiming cases", [&]() -> Claimed {
    SQLite::Transaction transaction(*db_, SQLite::TransactionBehavior::IMMEDIATE);
    const int64_t run = run_of(study);
    const ProcessIdentity self = this_process();
    std::vector<std::string> pending;
    for (const std::string& id : case_ids) {
      auto q = query(*db_,
                     "SELECT c.state, k.run AS owner, run.* FROM layer_case c LEFT JOIN claim k ON "
                     "(k.study, k.case_id) = (c.study, c.id) LEFT JOIN run ON run.id = k.run "
                     "WHERE c.study = ? AND c.id = ?",
                     {study, id});
      check(q.executeStep(), fmt::format("case {} belongs to study {}", id, study));
      if (named<CaseState>(q, "state") != CaseState::pending) continue;
      const bool claimed = !q.getColumn("owner").isNull() && integer(q, "owner") != run;
      if (claimed && run_may_live(q, self)) return std::nullopt;
      pending.push_back(id);
    }
    for (const std::string& id : pending)
      query(*db_, "INSERT OR REPLACE INTO claim (study, case_id, run, since) VALUES (?, ?, ?, ?)",
            {study, id, run, utc_now()})
          .exec();
    transaction.commit();
    return pending;
  });
}

void Store::set_case_state(int64_t study, const std::string& case_id, CaseState state,
                           const std::string& why) {
  guarded(file_, "setting a case's state", [&] {
    SQLite::Transaction transaction(*db_, SQLite::TransactionBehavior::IMMEDIATE);
    const int changed =
        query(*db_, "UPDATE layer_case SET state = ?, reason = ? WHERE study = ? AND id = ?",
              {to_name(state), why, study, case_id})
            .exec();
    check(changed == 1, fmt::format("case {} belongs to study {}", case_id, study));
    transaction.commit();
  });
}

}  // namespace fse
