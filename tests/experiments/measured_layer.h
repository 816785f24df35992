#pragma once
#include <doctest/doctest.h>

#include "tests/experiments/command.h"

namespace fse::test {

// A tuned and measured layer that takes microseconds.
struct Measured {
  TemporaryFolder folder;
  Measured() {
    write_text(folder / "config.json", kTinyConfig);
    write_text(folder / "tiny.yaml",
               "study: tiny\nmodels: ./config.json\ntokens: 3\ndevice: cpu\n"
               "variants: {gate: fused, topk: fused, shared: slot}\nbaseline: {shared: slot}\n"
               "tune: {strategy: random, budget: 3}\n"
               "measure: {cache: warm, min_rounds: 6, interval: 50%}\n");
    const Result run = fselab({"run", "tiny.yaml", "--db", "r.db"});
    CAPTURE(run.err);
    REQUIRE(run.exit_code == 0);
  }
  Result fselab(std::vector<std::string> arguments) const {
    return fse::test::fselab(folder.path(), std::move(arguments));
  }
  SQLite::Database open() const { return {(folder / "r.db").string(), SQLite::OPEN_READWRITE}; }
  int64_t attempt(const std::string& where) const {
    return open().execAndGet("SELECT min(id) FROM attempt WHERE " + where).getInt64();
  }
};

}  // namespace fse::test
