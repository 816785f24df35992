#pragma once
// What the parts of the store share; nobody else includes it.
#include <SQLiteCpp/SQLiteCpp.h>

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/error.h"
#include "core/names.h"
#include "core/store_error.h"

namespace fse {

inline constexpr int kApplicationId = 0x66736c62;  // "fslb"
inline constexpr int kSchemaVersion = 9;
inline constexpr int kBusyMilliseconds = 10'000;

// The statements that lead from schema version - 1 to `version`.
std::string schema_statements(int version);
std::string count_table();  // of version 8

// Why `f_type` of statfs() asks for a rollback journal ("" = a local file system). WAL needs shared
// memory between all users of the file, which another host does not have.
std::string network_file_system(int64_t f_type);

template <class F>
auto guarded(const std::string& file, std::string_view doing, F work) {
  try {
    return work();
  } catch (const SQLite::Exception& e) {
    throw_store_error(e, file, doing);
  } catch (const nlohmann::json::exception& e) {
    fail_data(file + ": " + std::string(doing) + ": " + e.what() + ", expected fselab's JSON");
  }
}

using Value = std::variant<std::monostate, int64_t, double, std::string>;
using Row = std::vector<std::pair<const char*, Value>>;

// NULL stands for what is undefined (the interval of fewer than six samples): SQLite itself would
// turn a NaN into NULL unseen, so only this function may.
Value real_or_null(double);
void bind(SQLite::Statement&, int index, const Value&);  // refuses NaN
int64_t insert(SQLite::Database&, const std::string& table, const Row&);
int update(SQLite::Database&, const std::string& table, const Row&, int64_t id);  // rows changed

// Query with its parameters bound.
SQLite::Statement query(SQLite::Database&, const std::string& sql,
                        const std::vector<Value>& parameters);
bool has_column(SQLite::Statement&, const char* column);
double real(SQLite::Statement&, const char* column);  // NULL is NaN
int64_t integer(SQLite::Statement&, const char* column);
std::string text(SQLite::Statement&, const char* column);  // NULL is ""

std::string utc_now();  // with milliseconds, so that text order is time order
std::string utc_before_now(std::chrono::seconds);
std::string json_text(const nlohmann::json&);

// An enumerator from its name; Error(data) where the file holds a name fselab does not know.
template <class E>
E named(SQLite::Statement& q, const char* column) {
  const std::string name = text(q, column);
  if (const auto value = from_name<E>(name)) return *value;
  fail_data("database: column " + std::string(column) + " holds '" + name + "', expected one of " +
            all_names<E>());
}

}  // namespace fse
