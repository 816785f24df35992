#include "core/store_sql.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <ctime>
#include <limits>

namespace fse {

Value real_or_null(double value) {
  return std::isnan(value) ? Value{} : Value{value};
}

void bind(SQLite::Statement& statement, int index, const Value& value) {
  if (std::holds_alternative<std::monostate>(value)) return statement.bind(index);
  if (const auto* i = std::get_if<int64_t>(&value)) return statement.bind(index, *i);
  if (const auto* s = std::get_if<std::string>(&value)) return statement.bind(index, *s);
  const double real = std::get<double>(value);
  check(!std::isnan(real), "no NaN is stored: " + statement.getQuery());
  statement.bind(index, real);
}

SQLite::Statement query(SQLite::Database& db, const std::string& sql,
                        const std::vector<Value>& parameters) {
  SQLite::Statement statement(db, sql);
  for (size_t i = 0; i < parameters.size(); ++i)
    bind(statement, static_cast<int>(i) + 1, parameters[i]);
  return statement;
}

int64_t insert(SQLite::Database& db, const std::string& table, const Row& row) {
  std::string columns, marks;
  std::vector<Value> values;
  for (const auto& [column, value] : row) {
    columns += (columns.empty() ? "" : ", ") + std::string(column);
    marks += marks.empty() ? "?" : ", ?";
    values.push_back(value);
  }
  query(db, fmt::format("INSERT INTO {} ({}) VALUES ({})", table, columns, marks), values).exec();
  return db.getLastInsertRowid();
}

int update(SQLite::Database& db, const std::string& table, const Row& row, int64_t id) {
  std::string changes;
  std::vector<Value> values;
  for (const auto& [column, value] : row) {
    changes += fmt::format("{}{} = ?", changes.empty() ? "" : ", ", column);
    values.push_back(value);
  }
  values.push_back(id);
  return query(db, fmt::format("UPDATE {} SET {} WHERE id = ?", table, changes), values).exec();
}

bool has_column(SQLite::Statement& q, const char* column) {
  for (int i = 0; i < q.getColumnCount(); ++i)
    if (q.getColumnName(i) == std::string_view(column)) return true;
  return false;
}

double real(SQLite::Statement& q, const char* column) {
  const SQLite::Column value = q.getColumn(column);
  return value.isNull() ? std::numeric_limits<double>::quiet_NaN() : value.getDouble();
}

int64_t integer(SQLite::Statement& q, const char* column) {
  return q.getColumn(column).getInt64();
}

std::string text(SQLite::Statement& q, const char* column) {
  return q.getColumn(column).getString();
}

std::string utc_now() {
  return utc_before_now(std::chrono::seconds(0));
}

std::string utc_before_now(std::chrono::seconds ago) {
  const auto since_epoch = (std::chrono::system_clock::now() - ago).time_since_epoch();
  const int64_t ms = std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count();
  const std::time_t seconds = static_cast<std::time_t>(ms / 1000);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format("{}.{:03}Z", text, ms % 1000);
}

std::string json_text(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace fse
