#pragma once
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace SQLite {
class Statement;
}

namespace fse {

// Rows as a query gave them. Column names are part of what scripts rely on.
using Cell = std::variant<std::monostate, int64_t, double, std::string>;
Cell cell(double);  // NULL for what is no number
struct Grid {
  std::vector<std::string> columns;
  std::vector<std::vector<Cell>> rows;
};
Grid read_grid(SQLite::Statement&);

// For a terminal: padded columns, control characters made visible; "(no rows)" where there are
// none.
std::string to_table(const Grid&);
std::string to_markdown(const Grid&);
std::string to_csv(const Grid&);   // RFC 4180, numbers with all their digits, NULL empty
std::string to_json(const Grid&);  // an array of objects, one row a line, NULL null

enum class GridFormat { table, json, csv, md };
std::string to_text(const Grid&, GridFormat);

}  // namespace fse
