#include "core/store_merge.h"

#include <doctest/doctest.h>

#include "tests/core/store_fixture.h"

using namespace fse;
using namespace fse::test;

namespace {

// A study of two cases of which one was run here, with a step that won.
void make_shard_file(const std::filesystem::path& file, size_t done, double us,
                     const std::string& step = "") {
  const std::vector<Case> cases{sample_case(Shared::mlp), sample_case(Shared::slot)};
  Store store = Store::create_or_open(file);
  const int64_t environment = store.add_environment(sample_environment());
  const int64_t study = store.add_study(sample_study(), {{cases[0], true}, {cases[1], false}});
  const std::string key = step.empty() ? "step of case " + std::to_string(done) : step;
  store.set_winner(record(store, study, environment, step_attempt(key), verified_outcome(us)));
  AttemptRecord layer = layer_attempt(cases[done]);
  layer.id = store.begin_attempt(study, environment, layer);
  layer.outcome = verified_outcome(10 * us);
  layer.steps = {{.step = "topk", .op = "topk", .kernel = "cpu.topk", .time_us = {1, 1, 1, 9}}};
  layer.control_us = {us, 2 * us, 3 * us};
  store.finish_case(layer.id, layer);
}

std::string text_of(const std::filesystem::path& file, const std::string& sql) {
  const Store store = Store::open_read_only(file);
  auto q = SQLite::Statement(store.database(), sql);
  std::string all;
  while (q.executeStep()) {
    for (int i = 0; i < q.getColumnCount(); ++i) all += q.getColumn(i).getString() + "|";
    all += "\n";
  }
  return all;
}

const char* const kContent =
    "SELECT a.level, coalesce(a.case_id, a.step_key), a.kernel, a.tile, a.status, a.verified, "
    "a.median_us, a.started, a.ended, (SELECT sum(us) FROM sample WHERE attempt = a.id), "
    "(SELECT count(*) FROM step_time WHERE attempt = a.id), w.key FROM attempt a "
    "LEFT JOIN winner w ON w.attempt = a.id ORDER BY 1, 2, a.started";

}  // namespace

TEST_CASE("shards merge into what one file would hold, once, in any order") {
  const TemporaryFolder folder;
  make_shard_file(folder / "a.db", 0, 10);
  make_shard_file(folder / "b.db", 1, 20);
  const MergeResult merged =
      merge_stores({folder / "a.db", folder / "b.db"}, folder / "ab.db", false);
  CHECK(merged.conflicts.empty());
  CHECK(merged.attempts == 4);
  CHECK(merged.cases == 2);
  const Store store = Store::open_read_only(folder / "ab.db");
  CHECK(store.studies().size() == 1);
  CHECK(count(store.database(), "environment") == 1);
  for (const CaseRecord& c : store.cases(1)) {
    CHECK(c.state == CaseState::done);
    const auto result = store.layer_result(1, case_id(c.spec));
    REQUIRE(result);
    CHECK(result->outcome.samples_us.size() == 25);
    CHECK(result->steps.size() == 1);
    CHECK(result->control_us.size() == 3);
  }
  CHECK(count(store.database(), "pragma_foreign_key_check") == 0);
  merge_stores({folder / "b.db", folder / "a.db"}, folder / "ba.db", false);
  CHECK(text_of(folder / "ba.db", kContent) == text_of(folder / "ab.db", kContent));
  // A file merged alone is the same file; merged again it changes nothing.
  merge_stores({folder / "a.db"}, folder / "copy.db", false);
  CHECK(text_of(folder / "copy.db", kContent) == text_of(folder / "a.db", kContent));
  const MergeResult again =
      merge_stores({folder / "a.db", folder / "ab.db"}, folder / "ba.db", false);
  CHECK(again.conflicts.empty());
  CHECK(again.attempts == 0);
}

TEST_CASE("two winners of one key and two ends of one case are conflicts, and nothing is written") {
  const TemporaryFolder folder;
  make_shard_file(folder / "a.db", 0, 10, "topk tokens=1");
  make_shard_file(folder / "b.db", 0, 20, "topk tokens=1");
  const auto merge = [&](bool keep) {
    return merge_stores({folder / "a.db", folder / "b.db"}, folder / "c.db", keep);
  };
  const MergeResult refused = merge(false);
  REQUIRE(refused.conflicts.size() == 2);
  CHECK(contains(refused.conflicts[1] + refused.conflicts[0],
                 "b.db: step topk tokens=1: the winner takes 20.1 us, but 10.0 us before"));
  CHECK(count(Store::open_read_only(folder / "c.db").database(), "attempt") == 0);
  CHECK(merge(true).conflicts.size() == 2);
  const Store kept = Store::open_read_only(folder / "c.db");
  CHECK(count(kept.database(), "attempt") == 4);
  CHECK(kept.step_winner(1, "topk tokens=1", step_attempt().workload, 1)->time_us.median < 11);

  make_shard_file(folder / "d.db", 0, 10);
  Store other = Store::create_or_open(folder / "e.db");
  const Case spec = sample_case(Shared::mlp);
  const int64_t study =
      other.add_study(sample_study(), {{spec, true}, {sample_case(Shared::slot)}});
  other.set_case_state(study, case_id(spec), CaseState::failed, "wrong");
  const MergeResult ends = merge_stores({folder / "d.db", folder / "e.db"}, folder / "f.db", false);
  REQUIRE(ends.conflicts.size() == 1);
  CHECK(contains(ends.conflicts[0], ": failed, but done before"));
}

TEST_CASE("what cannot be merged is refused with what to do") {
  const TemporaryFolder folder;
  make_shard_file(folder / "a.db", 0, 10);
  const auto merge = [&](const std::string& from, const std::string& into) {
    return error_of([&] { merge_stores({folder / from}, folder / into, false); });
  };
  CHECK(contains(merge("a.db", "a.db"), "merged into itself"));
  CHECK(contains(merge("none.db", "b.db"), "no such file"));
  CHECK_FALSE(std::filesystem::exists(folder / "b.db"));
  Store open = Store::create_or_open(folder / "a.db");
  open.begin_attempt(1, 1, step_attempt());
  CHECK(contains(merge("a.db", "b.db"), "attempt 3 is running, expected a database nobody writes"));
}
