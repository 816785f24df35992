#include <doctest/doctest.h>

#include "core/store_merge.h"
#include "core/store_sql.h"
#include "tests/core/store_fixture.h"

using namespace fse;
using namespace fse::test;

namespace {

CountRecord sample_count(int64_t loaded_bytes = 4096) {
  CountRecord r{.step_key = "grouped_stage1 tokens=4",
                .workload = "golden qwen3_moe",
                .op = "grouped_stage1",
                .kernel = "hip.grouped_stage1.stream",
                .tile = tile_from_text("warps=8 ring=3"),
                .pairs = 8,
                .active_experts = 5,
                .bytes = 4000,
                .flops = 1e6,
                .counters = {},
                .finding = ""};
  r.counters = {.buffers = {{"gate_up", loaded_bytes, 0, 32, 0}, {"h", 0, 512, 0, 4}},
                .loaded_bytes = loaded_bytes,
                .stored_bytes = 512,
                .loaded_lines = 32,
                .stored_lines = 4,
                .lds_bytes = 100,
                .lds_cycles = 50,
                .lds_conflicts = 7,
                .matrix_instructions = 9,
                .matrix_flops = 1.1e6,
                .wave_accesses = 70,
                .divergent_accesses = 3};
  return r;
}

}  // namespace

TEST_CASE("counters of a kernel are kept with all they say, the newest of equals") {
  const TemporaryFolder folder;
  Store store = Store::create_or_open(folder / "a.db");
  const int64_t environment = store.add_environment(sample_environment());
  const CountRecord first = sample_count();
  store.add_count(environment, first);
  store.add_count(environment, sample_count(8192));
  CountRecord other = sample_count();
  other.tile = tile_from_text("warps=4 ring=3");
  other.finding = "grouped_stage1 reads its weights 2.00 times";
  store.add_count(environment, other);
  CHECK(count(store.database(), "kernel_count") == 2);
  const auto all = store.counts(first.step_key, first.kernel, first.tile);
  REQUIRE(all.size() == 1);
  CHECK(all[0].counters == sample_count(8192).counters);
  CHECK(all[0].workload == first.workload);
  CHECK(all[0].op == first.op);
  CHECK(all[0].pairs == 8);
  CHECK(all[0].active_experts == 5);
  CHECK(all[0].bytes == 4000);
  CHECK(all[0].flops == 1e6);
  CHECK(all[0].finding.empty());
  CHECK(store.counts(first.step_key, first.kernel, other.tile).at(0).finding == other.finding);
  CHECK(store.counts(first.step_key, "hip.other", first.tile).empty());
}

TEST_CASE("a file of version 7 gets the table of counters, and none is read from it before") {
  const TemporaryFolder folder;
  {
    SQLite::Database db((folder / "old.db").string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    for (int version = 1; version <= 7; ++version) db.exec(schema_statements(version));
    db.exec("PRAGMA application_id = " + std::to_string(kApplicationId) +
            "; PRAGMA user_version = 7");
  }
  const CountRecord r = sample_count();
  CHECK(Store::open_read_only(folder / "old.db").counts(r.step_key, r.kernel, r.tile).empty());
  CHECK(std::filesystem::exists(Store::migrate(folder / "old.db")));
  Store store = Store::create_or_open(folder / "old.db");
  store.add_count(store.add_environment(sample_environment()), r);
  CHECK(store.counts(r.step_key, r.kernel, r.tile).size() == 1);
}

TEST_CASE("merging brings counters along, once") {
  const TemporaryFolder folder;
  for (const char* name : {"a.db", "b.db"}) {
    Store store = Store::create_or_open(folder / name);
    CountRecord r = sample_count();
    r.kernel = name;
    store.add_count(store.add_environment(sample_environment()), sample_count());
    store.add_count(store.add_environment(sample_environment()), r);
  }
  const auto merge = [&] {
    return merge_stores({folder / "a.db", folder / "b.db"}, folder / "ab.db", false);
  };
  const MergeResult merged = merge();
  CHECK(merged.conflicts.empty());
  CHECK(merged.counts == 3);
  CHECK(merge().counts == 0);
  const CountRecord r = sample_count();
  CHECK(Store::open_read_only(folder / "ab.db").counts(r.step_key, "b.db", r.tile).size() == 1);
}
