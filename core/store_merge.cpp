#include "core/store_merge.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/store.h"
#include "core/store_sql.h"

namespace fse {
namespace {

namespace fs = std::filesystem;
using Skip = std::vector<std::string_view>;

// The row that the statement stands on, without some of its columns.
Row row_of(SQLite::Statement& q, const Skip& skip) {
  Row row;
  for (int i = 0; i < q.getColumnCount(); ++i) {
    const char* name = q.getColumnName(i);
    if (std::find(skip.begin(), skip.end(), name) != skip.end()) continue;
    const SQLite::Column column = q.getColumn(i);
    Value value;
    if (column.isInteger()) value = column.getInt64();
    if (column.isFloat()) value = column.getDouble();
    if (column.isText()) value = column.getString();
    row.emplace_back(name, std::move(value));
  }
  return row;
}

// The tables that hold parts of attempts, as the schema says: none is forgotten. A winner is no
// part: of two files, one wins.
std::vector<std::string> parts_of_attempts(SQLite::Database& database) {
  std::vector<std::string> tables;
  auto q = query(database,
                 "SELECT t.name FROM sqlite_schema t, pragma_foreign_key_list(t.name) k WHERE "
                 "t.type = 'table' AND t.name <> 'winner' AND k.\"table\" = 'attempt' ORDER BY 1",
                 {});
  while (q.executeStep()) tables.push_back(text(q, "name"));
  return tables;
}

// One file on its way into another; all within the target's transaction.
class Merger {
 public:
  Merger(const Store& source, Store& target, MergeResult& result)
      : from_(source.database()),
        into_(target.database()),
        result_(result),
        name_(source.file()),
        parts_(parts_of_attempts(into_)) {}

  void merge() {
    require_still();
    merge_environments();
    merge_counts();
    merge_studies();
    merge_runs();
    merge_winners();
  }

 private:
  void require_still() {
    if (from_.execAndGet("PRAGMA user_version").getInt() < kSchemaVersion)
      fail_usage(fmt::format("{0}: of an older schema; fselab db migrate --db {0} first", name_));
    auto q = query(from_, "SELECT id FROM attempt WHERE status = 'running' LIMIT 1", {});
    if (q.executeStep())
      fail_usage(fmt::format(
          "{0}: attempt {1} is running, expected a database nobody writes to (fselab db gc --db "
          "{0} closes what a process that died has left)",
          name_, integer(q, "id")));
  }

  void conflict(const std::string& what) { result_.conflicts.push_back(name_ + ": " + what); }

  void merge_environments() {
    auto q = query(from_, "SELECT * FROM environment ORDER BY id", {});
    while (q.executeStep()) {
      auto known = query(into_, "SELECT id FROM environment WHERE hash = ?", {text(q, "hash")});
      environments_[integer(q, "id")] = known.executeStep()
                                            ? integer(known, "id")
                                            : insert(into_, "environment", row_of(q, {"id"}));
    }
  }

  // They are exact: what is there already says the same.
  void merge_counts() {
    auto q = query(from_, "SELECT * FROM kernel_count ORDER BY rowid", {});
    while (q.executeStep()) {
      const int64_t environment = environments_.at(integer(q, "environment"));
      auto there = query(into_,
                         "SELECT 1 FROM kernel_count WHERE (environment, step_key, workload, "
                         "kernel, tile) = (?, ?, ?, ?, ?)",
                         {environment, text(q, "step_key"), text(q, "workload"), text(q, "kernel"),
                          text(q, "tile")});
      if (there.executeStep()) continue;
      Row row = row_of(q, {"environment"});
      row.emplace_back("environment", environment);
      insert(into_, "kernel_count", row);
      ++result_.counts;
    }
  }

  void merge_studies() {
    auto q = query(from_, "SELECT * FROM study ORDER BY id", {});
    while (q.executeStep()) {
      auto known = query(into_, "SELECT id FROM study WHERE name = ? AND plan_hash = ?",
                         {text(q, "name"), text(q, "plan_hash")});
      const bool is_known = known.executeStep();
      const int64_t id =
          is_known ? integer(known, "id") : insert(into_, "study", row_of(q, {"id"}));
      studies_[integer(q, "id")] = id;
      merge_cases(integer(q, "id"), id, text(q, "name"), is_known);
    }
  }

  void merge_cases(int64_t from, int64_t into, const std::string& study, bool known) {
    auto q = query(from_, "SELECT * FROM layer_case WHERE study = ? ORDER BY ordinal", {from});
    while (q.executeStep()) {
      const std::string id = text(q, "id"), state = text(q, "state");
      if (!known) {
        Row row = row_of(q, {"study", "variant"});
        row.emplace_back("study", into);
        insert(into_, "layer_case", row);
        result_.cases += state == "done" || state == "failed";
        continue;
      }
      auto there =
          query(into_, "SELECT state FROM layer_case WHERE study = ? AND id = ?", {into, id});
      check(there.executeStep(), "studies of one plan have the same cases");
      const std::string old = text(there, "state");
      if (old == state || state == "pending") continue;
      if (old != "pending") {
        conflict(fmt::format("study {}, case {}: {}, but {} before", study, id, state, old));
        continue;
      }
      query(into_, "UPDATE layer_case SET state = ?, reason = ? WHERE study = ? AND id = ?",
            {state, text(q, "reason"), into, id})
          .exec();
      ++result_.cases;
    }
  }

  // What tells one process from every other.
  int64_t run_there(SQLite::Statement& q) {
    auto known = query(
        into_,
        "SELECT id FROM run WHERE study = ? AND started = ? AND host = ? AND "
        "boot_id = ? AND pid_namespace = ? AND pid = ? AND pid_started = ?",
        {studies_.at(integer(q, "study")), text(q, "started"), text(q, "host"), text(q, "boot_id"),
         text(q, "pid_namespace"), integer(q, "pid"), integer(q, "pid_started")});
    if (known.executeStep()) return integer(known, "id");
    Row row = row_of(q, {"id", "study"});
    row.emplace_back("study", studies_.at(integer(q, "study")));
    return insert(into_, "run", row);
  }

  void merge_runs() {
    auto q = query(from_, "SELECT * FROM run ORDER BY id", {});
    while (q.executeStep()) merge_attempts(integer(q, "id"), run_there(q));
  }

  // A ledger only grows: of one process, what one file has more than the other comes at the end.
  void merge_attempts(int64_t from, int64_t into) {
    constexpr const char* kAll = "SELECT * FROM attempt WHERE run = ? ORDER BY id";
    auto there = query(into_, kAll, {into});
    auto q = query(from_, kAll, {from});
    bool more = there.executeStep();
    while (q.executeStep()) {
      if (!more) {
        attempts_[integer(q, "id")] = add_attempt(q, into);
        continue;
      }
      for (const char* column : {"started", "kernel", "tile", "case_id", "step_key", "status"})
        if (text(q, column) != text(there, column))
          return conflict(fmt::format("attempt {}: {} is {}, but {} before", integer(q, "id"),
                                      column, text(q, column), text(there, column)));
      attempts_[integer(q, "id")] = integer(there, "id");
      more = there.executeStep();
    }
  }

  // Open first, since samples are only added to what is open.
  int64_t add_attempt(SQLite::Statement& q, int64_t run) {
    Row closed = row_of(q, {"id", "study", "run", "environment"});
    Row open = row_of(q, {"id", "study", "run", "environment", "status", "verified", "ended"});
    open.insert(open.end(), {{"status", "running"},
                             {"study", studies_.at(integer(q, "study"))},
                             {"run", run},
                             {"environment", environments_.at(integer(q, "environment"))}});
    const int64_t id = insert(into_, "attempt", open);
    for (const std::string& table : parts_) {
      auto rows = query(from_, fmt::format("SELECT * FROM {} WHERE attempt = ?", table),
                        {integer(q, "id")});
      while (rows.executeStep()) {
        Row row = row_of(rows, {"attempt"});
        row.emplace_back("attempt", id);
        insert(into_, table, row);
      }
    }
    update(into_, "attempt", closed, id);
    ++result_.attempts;
    return id;
  }

  void merge_winners() {
    auto q = query(from_,
                   "SELECT w.*, a.median_us FROM winner w JOIN attempt a ON a.id = w.attempt", {});
    while (q.executeStep()) {
      const auto attempt = attempts_.find(integer(q, "attempt"));
      if (attempt == attempts_.end()) continue;  // of a process whose history is in conflict
      const int64_t environment = environments_.at(integer(q, "environment"));
      auto there = query(into_,
                         "SELECT w.attempt, a.median_us FROM winner w JOIN attempt a ON "
                         "a.id = w.attempt WHERE w.level = ? AND w.key = ? AND w.workload = ? AND "
                         "w.environment = ?",
                         {text(q, "level"), text(q, "key"), text(q, "workload"), environment});
      if (!there.executeStep()) {
        Row row = row_of(q, {"attempt", "environment", "median_us"});
        row.insert(row.end(), {{"attempt", attempt->second}, {"environment", environment}});
        insert(into_, "winner", row);
      } else if (integer(there, "attempt") != attempt->second) {
        conflict(fmt::format("{} {}: the winner takes {:.1f} us, but {:.1f} us before",
                             text(q, "level"), text(q, "key"), real(q, "median_us"),
                             real(there, "median_us")));
      }
    }
  }

  SQLite::Database& from_;
  SQLite::Database& into_;
  MergeResult& result_;
  const std::string name_;
  const std::vector<std::string> parts_;
  std::map<int64_t, int64_t> environments_, studies_, attempts_;  // ids there -> ids here
};

}  // namespace

MergeResult merge_stores(const std::vector<fs::path>& from, const fs::path& into, bool keep) {
  std::vector<Store> sources;
  for (const fs::path& file : from) {
    sources.push_back(Store::open_read_only(file));
    std::error_code none;
    if (fs::equivalent(file, into, none))
      fail_usage(fmt::format("{}: merged into itself, expected another file", file.string()));
  }
  Store target = Store::create_or_open(into);
  MergeResult result;
  guarded(into.string(), "merging", [&] {
    SQLite::Transaction transaction(target.database(), SQLite::TransactionBehavior::IMMEDIATE);
    for (const Store& source : sources) Merger(source, target, result).merge();
    if (result.conflicts.empty() || keep) transaction.commit();
  });
  return result;
}

}  // namespace fse
