#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/experiments/command.h"

namespace fse::test {

// A sweep on a device whose times are made, so that every run of it has the same winners.
struct Sweep {
  TemporaryFolder folder{access("/dev/shm", W_OK) == 0 ? std::filesystem::path("/dev/shm")
                                                       : std::filesystem::temp_directory_path()};
  std::string device = "fault:cpu?times=made";

  Sweep() {
    write_text(folder / "config.json", kTinyConfig);
    write_text(folder / "made.yaml",
               "study: made\nmodels: ./config.json\ntokens: [1, 2, 3, 5]\n"
               "variants: {gate: fused, topk: fused, shared: slot}\nbaseline: {shared: slot}\n"
               "tune: {strategy: random, budget: 3}\n"
               "measure: {cache: warm, min_rounds: 6, interval: 50%}\n");
  }
  std::vector<std::string> command(const std::string& db,
                                   const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words{"run", "made.yaml", "device=" + device, "--db", db};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  Result run(const std::string& db, const std::vector<std::string>& more = {}) const {
    return fselab(folder.path(), command(db, more));
  }
  std::unique_ptr<Command> start(const std::string& db, const std::string& name,
                                 const std::vector<std::string>& more = {}) const {
    return std::make_unique<Command>(folder.path(), command(db, more), name);
  }
  // Rows of a query, their columns joined by '|'; nothing where there is no such table yet.
  std::vector<std::string> rows(const std::string& file, const std::string& sql) const {
    std::vector<std::string> all;
    if (!std::filesystem::exists(folder / file)) return all;
    try {
      SQLite::Database db((folder / file).string(), SQLite::OPEN_READONLY, 10000);
      SQLite::Statement query(db, sql);
      while (query.executeStep()) {
        std::string row;
        for (int i = 0; i < query.getColumnCount(); ++i)
          row += (i ? "|" : "") + query.getColumn(i).getString();
        all.push_back(row);
      }
    } catch (const SQLite::Exception& error) {
      if (!contains(error.what(), "no such table")) throw;
    }
    return all;
  }
  bool unlocked(const std::string& file) const {
    SQLite::Database db((folder / file).string(), SQLite::OPEN_READWRITE);
    return db.tryExec("BEGIN IMMEDIATE; ROLLBACK") == SQLite::OK;
  }
  int64_t count(const std::string& file, const std::string& from) const {
    const auto value = rows(file, "SELECT count(*) FROM " + from);
    return value.empty() ? 0 : std::stoll(value.front());
  }
};

inline const char* const kWinners =
    "SELECT w.level, w.key, a.kernel, a.tile, a.median_us FROM winner w "
    "JOIN attempt a ON a.id = w.attempt ORDER BY w.level, w.key";
// What was finished, and how often; an attempt that a kill interrupted was not.
inline const char* const kFinished =
    "SELECT level, coalesce(case_id, step_key), kernel, tile, status, median_us, count(*) FROM "
    "attempt WHERE status <> 'running' AND reason NOT LIKE 'interrupted: %' "
    "GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6";

}  // namespace fse::test
