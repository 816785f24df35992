#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/case.h"
#include "core/kernel_counters.h"
#include "core/outcome.h"
#include "core/tile.h"

namespace SQLite {
class Database;
}

namespace fse {

// Where and by what a number was made: part of every row. The two rates and the memory that happens
// to be free do not make another environment: a search resumed tomorrow finds today's attempts.
struct Environment {
  DeviceInfo device;
  std::string compiler;      // of fselab's own kernels: "g++ 12.2.0 -O3"
  std::string git_revision;  // of fselab, "-dirty" appended where the tree was modified
  std::string host_os;       // uname: system, release
  double read_gbs = 0;       // measured streaming read of this device, GB/s (10^9)
  double peak_gflops = 0;    // measured f32 multiply-add rate
};

struct StudyRecord {
  std::string name;
  std::string yaml_text;                // the sweep with its overrides applied
  std::string plan_hash;                // over the canonical text of all cases
  std::string command;                  // as the user typed it
  std::string created;                  // UTC, by the store: "2026-11-25T02:17:21.123Z"
  std::vector<std::string> notes = {};  // Expansion::notes: what the sweep lost before its cases
};

enum class CaseState { pending, done, failed, refused };
template <>
inline constexpr NameTable<CaseState, 4> kNames<CaseState>{{{CaseState::pending, "pending"},
                                                            {CaseState::done, "done"},
                                                            {CaseState::failed, "failed"},
                                                            {CaseState::refused, "refused"}}};

struct CaseRecord {
  Case spec;
  bool baseline = false;  // speed-ups are quoted against the baseline of the same workload
  CaseState state = CaseState::pending;
  std::string reason;  // refused, failed: why
};

// One step of a layer as it was measured inside the whole layer.
struct StepTime {
  std::string step, op, kernel;
  Tile tile;
  Summary time_us;
  double bytes = 0, flops = 0, floor_us = 0;
};

// A layer that was tried with another tile for one step, or as a whole: its time over that of the
// layer whose steps are each the best alone.
struct JointTrial {
  std::string step, kernel;  // of a whole layer: kWholeLayer, and what it is made of in words
  Tile tile;
  Summary ratio;
  bool taken = false;  // the layer that was measured at last has it
  Status status = Status::measured;
  std::string reason = {};  // empty when measured
};
inline constexpr const char* kWholeLayer = "whole layer";

// A whole layer at its tuned tiles, or one step with one tile.
struct AttemptRecord {
  int64_t id = 0;
  int64_t environment = 0;  // by the store, like id
  int64_t run = 0;          // by the store: one process of one `fselab run`
  std::string case_id;      // layer attempts; empty for steps
  std::string step_key;     // step attempts; empty for layers
  std::string workload;   // routing, cache and seed: what a step's time depends on besides its key
  std::string kernel;     // step attempts: the catalogue row
  Tile tile;              // step attempts
  std::string role = {};  // step attempts that compete whatever they take: default, or of whom
  Outcome outcome;
  Summary time_us;  // of outcome.samples_us, by the store: what is written here is ignored
  double bytes = 0, flops = 0, floor_us = 0;
  double read_gbs = 0, peak_gflops = 0;  // the rates floor_us was computed from
  int weight_sets = 0;                   // rotated over while measuring
  int64_t rotation_shortfall_bytes = 0;  // what they lack to twice the last-level cache
  std::vector<StepTime> steps;           // layer attempts
  std::vector<double> control_us;        // one layer of a race: itself once more in every round
  std::vector<double> confirm_us;  // the fastest layer of a race and its baseline: once more, by
                                   // round, in a fresh process
  int confirm_tries = 0;  // fresh processes that were asked, where the first contradicted the race
  std::vector<JointTrial> trials;       // layer attempts
  std::vector<int64_t> load_histogram;  // realised rows per expert of the first round
  int64_t load_rounds = 0;              // rounds that the next two are means over: all measured
  double distinct_experts = 0, max_over_mean_load = 0;
  double routing_agreement = 1;  // share of tokens whose id set equals the reference's
};

// Whether the process died while the attempt was under way, so that it never ended by itself.
bool was_interrupted(const Outcome&);

// The SQLite ledger: the only truth. Rows are only appended or closed, each in a transaction of its
// own; a writer waits for others up to ten seconds. Throws Error(usage) for a missing file opened
// for reading, Error(data) for a file that is not a fselab database or is damaged,
// Error(environment) where the system fails: a full disk, no permission, a lock held too long.
// What was committed before an error, a kill or a full disk stays.
// One Store belongs to one thread; other threads and processes open their own.
class Store {
 public:
  static Store create_or_open(const std::filesystem::path& file);
  static Store open_read_only(const std::filesystem::path& file);
  // Forward to this fselab's schema, in one transaction, after a backup beside the file; the
  // backup's path, or an empty one where nothing was to be done.
  static std::filesystem::path migrate(const std::filesystem::path& file);
  // Closes what dead processes left running and gives unused pages back; bytes gained. Nothing that
  // was measured is removed.
  static int64_t collect_garbage(const std::filesystem::path& file);
  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  ~Store();

  // What the user should know about the file ("" = nothing): it lies on a network file system.
  const std::string& warning() const { return warning_; }
  const std::string& file() const { return file_; }

  int64_t add_environment(const Environment&);  // the same environment keeps its id
  // A study with the same name and plan_hash is found again (resume), else all cases are stored as
  // pending or refused, in one transaction, before the first of them runs. Attempts that a process
  // which no longer lives left `running` are closed as crashed, with a reason that begins
  // "interrupted: "; those of a living process are left alone.
  int64_t add_study(const StudyRecord&, const std::vector<CaseRecord>&);
  std::vector<CaseRecord> cases(int64_t study) const;  // in the order they were added
  // Takes those of the cases that are still pending for this process, and returns them: another
  // process that asks for one of them gets nullopt, as this one does where one of them belongs to
  // a process that may live. A process of this machine is looked up; one of another counts as
  // ended when it has not written for two hours. finish_case() lets go of a case.
  std::optional<std::vector<std::string>> claim_cases(int64_t study,
                                                      const std::vector<std::string>& case_ids);
  void set_case_state(int64_t study, const std::string& case_id, CaseState, const std::string& why);

  // Committed as `running` before the attempt starts; closed once, with samples, after. An attempt
  // counts as verified when it was measured (or is suspect) and its accuracy is within its bound;
  // a layer's bound must be positive, so that an accuracy nobody filled in verifies nothing.
  int64_t begin_attempt(int64_t study, int64_t environment, const AttemptRecord& what);
  void finish_attempt(int64_t attempt, const AttemptRecord& result);
  // A step's finals, in one transaction, with the one of them that won; 0: none did.
  void finish_finals(const std::vector<AttemptRecord>& results, int64_t winner);
  // The same for a layer, and in one transaction what follows: its case is done with the attempt as
  // its winner, or failed with the reason. A kill leaves all of it or nothing.
  void finish_case(int64_t attempt, const AttemptRecord& result);

  // The attempt that set_winner() marked for a step, under the same key, workload and environment,
  // by this study: another study's search may have had a smaller budget or fewer tiles.
  std::optional<AttemptRecord> step_winner(int64_t study, const std::string& step_key,
                                           const std::string& workload, int64_t environment) const;
  // What won a step or a case (`key`: its step_key or case_id) before, for another study on the
  // same device, whichever fselab it was: of this environment if there is one, else the newest;
  // with the steps of a layer.
  struct EarlierWinner {
    AttemptRecord record;
    std::string study, since;
  };
  std::optional<EarlierWinner> earlier_winner(const std::string& level, const std::string& key,
                                              const std::string& workload, int64_t environment,
                                              int64_t study) const;
  // Every attempt of the step that ended, in any way, oldest first and without its samples: an
  // interrupted search continues behind them.
  std::vector<AttemptRecord> step_attempts(const std::string& step_key, const std::string& workload,
                                           int64_t environment) const;
  // Whether any of the study's attempts at a step was with the vendor's library.
  bool tried_library(int64_t study) const;
  // How many attempts at a step, of any key, ended the worker that made them or had to be ended, by
  // "KERNEL TILE".
  std::map<std::string, int> deaths(int64_t environment) const;
  // The newest measured and verified layer attempt of a case, with steps and samples.
  std::optional<AttemptRecord> layer_result(int64_t study, const std::string& case_id) const;
  // Verified attempts at other cases of the case's study and variant, in the attempt's environment,
  // with this very median: with their samples.
  std::vector<AttemptRecord> layers_that_took(double median_us, int64_t attempt) const;
  // Verified attempts with this very median of the same kernel and tile at the same step with
  // another token count, in the open attempt's study and environment: with their samples.
  std::vector<AttemptRecord> steps_that_took(double median_us, const AttemptRecord& attempt) const;
  // An attempt that ended, by its number, with steps and samples, and its study.
  struct StoredAttempt {
    int64_t study;
    AttemptRecord record;
  };
  std::optional<StoredAttempt> attempt(int64_t id) const;
  // Marks the attempt as the winner of its key; the schema refuses one that is not verified.
  void set_winner(int64_t attempt);

  // What an emulator counted. Counts are exact: where the same kernel, tile, step and tokens were
  // counted in this environment before, the new ones take their place.
  void add_count(int64_t environment, const CountRecord&);
  // The newest first; of all architectures where none is named.
  std::vector<CountRecord> counts(const std::string& step_key, const std::string& kernel,
                                  const Tile&, const std::string& arch = "") const;

  struct StudySummary {
    int64_t id;
    std::string name, created;
  };
  std::vector<StudySummary> studies() const;  // oldest first
  StudyRecord study(int64_t id) const;
  // Those its attempts ran in, by id; the rates are the newest its attempts were judged by.
  std::vector<Environment> environments(int64_t study) const;
  Environment environment(int64_t id) const;  // Error(data) where there is none
  struct AttemptCount {
    std::string level, status;  // "step" or "layer"; a Status name or "running"
    int64_t attempts;
  };
  std::vector<AttemptCount> attempt_counts(int64_t study) const;
  struct FailureCount {
    std::string level, kernel, status, reason;
    int64_t attempts;
  };
  // Attempts that ended without a usable number, alike ones together, the most frequent first.
  std::vector<FailureCount> failure_counts(int64_t study) const;
  SQLite::Database& database() const;  // for queries that need no method of their own

 private:
  Store(std::unique_ptr<SQLite::Database>, std::string file, std::string warning);
  int64_t add_run(int64_t study, const StudyRecord& as);
  int64_t run_of(int64_t study);  // the row of this process, made when first needed
  void close_interrupted();
  void close_attempt(int64_t attempt, const AttemptRecord& result);
  void mark_winner(int64_t attempt);

  std::unique_ptr<SQLite::Database> db_;
  std::string file_, warning_;
  std::map<int64_t, int64_t> runs_;  // study -> the row of this process
};

}  // namespace fse
