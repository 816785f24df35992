#include "tuner/exchange_store.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/store_sql.h"

namespace fse {
namespace {

// Made by the first import: a database without foreign tables does not have them.
constexpr const char* kTables = R"sql(
CREATE TABLE IF NOT EXISTS foreign_table (
  name TEXT PRIMARY KEY,
  format TEXT NOT NULL,
  header TEXT NOT NULL CHECK (json_valid(header)),
  imported TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS foreign_row (
  name TEXT NOT NULL REFERENCES foreign_table (name),
  ordinal INTEGER NOT NULL,
  key TEXT NOT NULL,
  fields TEXT NOT NULL CHECK (json_valid(fields)),
  kind TEXT NOT NULL,              -- '' = of a kind fselab has
  flags TEXT NOT NULL CHECK (json_valid(flags)),  -- why the row cannot be believed
  PRIMARY KEY (name, ordinal)
) STRICT, WITHOUT ROWID;
)sql";

bool has_tables(SQLite::Database& db) {
  return db.tableExists("foreign_table") && db.tableExists("foreign_row");
}

}  // namespace

std::vector<std::string> foreign_table_names(const Store& store) {
  return guarded(store.file(), "listing foreign tables", [&] {
    std::vector<std::string> names;
    if (!has_tables(store.database())) return names;
    auto q = query(store.database(), "SELECT name FROM foreign_table ORDER BY name", {});
    while (q.executeStep()) names.push_back(text(q, "name"));
    return names;
  });
}

ForeignTable foreign_table(const Store& store, const std::string& name) {
  const std::vector<std::string> names = foreign_table_names(store);
  if (std::find(names.begin(), names.end(), name) == names.end())
    fail_usage(fmt::format(
        "{}: no foreign table '{}', expected one of: {}", store.file(), name,
        names.empty() ? "(none was imported)" : fmt::format("{}", fmt::join(names, " "))));
  return guarded(store.file(), "reading a foreign table", [&] {
    ForeignTable table{.name = name};
    auto head = query(store.database(), "SELECT * FROM foreign_table WHERE name = ?", {name});
    head.executeStep();
    table.format = named<ExchangeFormat>(head, "format");
    table.header = text(head, "header");
    auto q = query(store.database(), "SELECT * FROM foreign_row WHERE name = ? ORDER BY ordinal",
                   {name});
    while (q.executeStep())
      table.rows.push_back(
          {.key = text(q, "key"),
           .fields = text(q, "fields"),
           .kind = text(q, "kind"),
           .flags = nlohmann::json::parse(text(q, "flags")).get<std::vector<std::string>>()});
    return table;
  });
}

bool add_foreign(const Store& store, const ForeignTable& table) {
  SQLite::Database& db = store.database();
  return guarded(store.file(), "importing " + table.name, [&] {
    SQLite::Transaction transaction(db, SQLite::TransactionBehavior::IMMEDIATE);
    db.exec(kTables);
    if (query(db, "SELECT 1 FROM foreign_table WHERE name = ?", {table.name}).executeStep()) {
      if (write_foreign(foreign_table(store, table.name)) == write_foreign(table)) return false;
      fail_usage(fmt::format("{}: holds another table '{}' already, expected a name of its own",
                             store.file(), table.name));
    }
    insert(db, "foreign_table",
           {{"name", table.name},
            {"format", to_name(table.format)},
            {"header", table.header},
            {"imported", utc_now()}});
    int64_t ordinal = 0;
    for (const ForeignRow& row : table.rows)
      insert(db, "foreign_row",
             {{"name", table.name},
              {"ordinal", ordinal++},
              {"key", row.key},
              {"fields", row.fields},
              {"kind", row.kind},
              {"flags", nlohmann::json(row.flags).dump()}});
    transaction.commit();
    return true;
  });
}

}  // namespace fse
