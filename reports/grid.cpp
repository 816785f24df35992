#include "reports/grid.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/strict_json.h"
#include "reports/table.h"

namespace fse {

Cell cell(double value) {
  return std::isfinite(value) ? Cell{value} : Cell{};
}

namespace {

Cell cell_of(const SQLite::Column& value) {
  if (value.isNull()) return {};
  if (value.isInteger()) return value.getInt64();
  if (value.isFloat()) return value.getDouble();
  return value.getString();
}

// `exact` for machines; people read about four digits.
std::string text_of(const Cell& cell, bool exact) {
  if (const auto* i = std::get_if<int64_t>(&cell)) return std::to_string(*i);
  if (const auto* s = std::get_if<std::string>(&cell)) return *s;
  const auto* d = std::get_if<double>(&cell);
  if (!d) return exact ? "" : "-";
  if (exact) return fmt::format("{}", *d);
  const double size = *d < 0 ? -*d : *d;
  if (size != 0 && (size < 1e-2 || size >= 1e9)) return fmt::format("{:.2e}", *d);
  return number(*d, decimals_for(size));
}

bool is_numeric(const Grid& grid, size_t column) {
  return std::none_of(grid.rows.begin(), grid.rows.end(), [&](const auto& row) {
    return std::holds_alternative<std::string>(row[column]);
  });
}

size_t width(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

}  // namespace

Grid read_grid(SQLite::Statement& statement) {
  Grid grid;
  for (int c = 0; c < statement.getColumnCount(); ++c)
    grid.columns.emplace_back(statement.getColumnName(c));
  while (statement.executeStep()) {
    std::vector<Cell> row;
    for (int c = 0; c < statement.getColumnCount(); ++c)
      row.push_back(cell_of(statement.getColumn(c)));
    grid.rows.push_back(std::move(row));
  }
  return grid;
}

std::string to_table(const Grid& grid) {
  if (grid.rows.empty()) return "(no rows)\n";
  std::vector<std::vector<std::string>> lines = {grid.columns};
  for (const auto& row : grid.rows) {
    lines.emplace_back();
    for (const Cell& cell : row) lines.back().push_back(printable(text_of(cell, false)));
  }
  std::string out;
  std::vector<size_t> widths(grid.columns.size());
  for (const auto& line : lines)
    for (size_t c = 0; c < line.size(); ++c) widths[c] = std::max(widths[c], width(line[c]));
  for (const auto& line : lines) {
    std::string text;
    for (size_t c = 0; c < line.size(); ++c) {
      const std::string space(widths[c] - width(line[c]), ' ');
      text += (c ? "  " : "") + (is_numeric(grid, c) ? space + line[c] : line[c] + space);
    }
    out += text.substr(0, text.find_last_not_of(' ') + 1) + "\n";
  }
  return out;
}

std::string to_markdown(const Grid& grid) {
  Table table;
  for (size_t c = 0; c < grid.columns.size(); ++c)
    table.titles.push_back((is_numeric(grid, c) ? "" : "<") + escape_markdown(grid.columns[c]));
  for (const auto& row : grid.rows) {
    table.rows.emplace_back();
    for (const Cell& cell : row) table.rows.back().push_back(escape_markdown(text_of(cell, false)));
  }
  return to_markdown(table);
}

std::string to_csv(const Grid& grid) {
  std::string out;
  const auto add = [&](const std::string& text, size_t column) {
    out += (column ? "," : "") + csv_cell(text);
  };
  for (size_t c = 0; c < grid.columns.size(); ++c) add(grid.columns[c], c);
  out += "\r\n";
  for (const auto& row : grid.rows) {
    for (size_t c = 0; c < row.size(); ++c) add(text_of(row[c], true), c);
    out += "\r\n";
  }
  return out;
}

std::string to_json(const Grid& grid) {
  std::string out = "[";
  for (size_t r = 0; r < grid.rows.size(); ++r) {
    nlohmann::ordered_json object = nlohmann::ordered_json::object();
    for (size_t c = 0; c < grid.columns.size(); ++c)
      std::visit(
          [&](const auto& value) {
            if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::monostate>)
              object[grid.columns[c]] = nullptr;
            else
              object[grid.columns[c]] = value;
          },
          grid.rows[r][c]);
    out += (r ? ",\n " : "\n ") +
           object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  return out + (grid.rows.empty() ? "]\n" : "\n]\n");
}

std::string to_text(const Grid& grid, GridFormat format) {
  switch (format) {
    case GridFormat::json:
      return to_json(grid);
    case GridFormat::csv:
      return to_csv(grid);
    case GridFormat::md:
      return to_markdown(grid);
    default:
      return to_table(grid);
  }
}

}  // namespace fse
