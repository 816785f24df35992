#include <doctest/doctest.h>

#include "core/store_sql.h"
#include "tests/core/store_fixture.h"

using namespace fse;
using namespace fse::test;

namespace {

void make_version_1(const std::filesystem::path& file) {
  SQLite::Database db(file.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
  db.exec(schema_statements(1));
  db.exec("PRAGMA application_id = " + std::to_string(kApplicationId) +
          "; PRAGMA user_version = 1");
}

}  // namespace

TEST_CASE("an older file is read, not written, until it was migrated, which keeps a backup") {
  const TemporaryFolder folder;
  make_version_1(folder / "old.db");
  CHECK(Store::open_read_only(folder / "old.db").studies().empty());
  CHECK(contains(
      error_of([&] { Store::create_or_open(folder / "old.db"); }),
      "schema version 1, expected " + std::to_string(kSchemaVersion) + "; fselab db migrate --db"));
  const auto backup = Store::migrate(folder / "old.db");
  CHECK(std::filesystem::exists(backup));
  Store::create_or_open(folder / "old.db").add_study(sample_study(), {{sample_case(), true}});
  CHECK(count(Store::open_read_only(folder / "old.db").database(), "study") == 1);
  CHECK(count(Store::open_read_only(backup).database(), "study") == 0);
  CHECK(Store::migrate(folder / "old.db").empty());
  Store store = Store::create_or_open(folder / "old.db");
  record(store, 1, store.add_environment(sample_environment()), step_attempt(),
         verified_outcome(10));  // with the columns of this version
  CHECK(count(store.database(), "attempt WHERE registers IS NULL") == 1);
}

TEST_CASE("migration never overwrites a backup") {
  const TemporaryFolder folder;
  make_version_1(folder / "old.db");
  make_version_1(folder / "old.db.v1.bak");
  CHECK(contains(error_of([&] { Store::migrate(folder / "old.db"); }), "expected no backup"));
  CHECK(contains(error_of([&] { Store::create_or_open(folder / "old.db"); }), "schema version 1"));
}

TEST_CASE("collecting garbage keeps every number") {
  const TemporaryFolder folder;
  {
    Store store = Store::create_or_open(folder / "a.db");
    const int64_t study = store.add_study(sample_study(), {{sample_case(), true}});
    record(store, study, store.add_environment(sample_environment()), step_attempt(),
           verified_outcome(10));
  }
  Store::collect_garbage(folder / "a.db");
  const Store store = Store::open_read_only(folder / "a.db");
  CHECK(count(store.database(), "attempt") == 1);
  CHECK(count(store.database(), "sample") == 25);
}
