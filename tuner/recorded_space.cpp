#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <sstream>

#include "core/error.h"
#include "core/strict_json.h"
#include "tuner/search.h"

namespace fse {
namespace {

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells(1);
  for (const char c : line)
    if (c == ',')
      cells.emplace_back();
    else
      cells.back() += c;
  return cells;
}

template <class T>
T number(const std::string& cell, const std::string& where) {
  T value{};
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error != std::errc() || end != cell.data() + cell.size())
    fail_data(fmt::format("{}: '{}', expected a number", where, printable(cell)));
  return value;
}

}  // namespace

RecordedSpace read_recorded_space(const std::string& text, const std::string& name) {
  std::istringstream lines(text);
  std::string line;
  std::getline(lines, line);
  RecordedSpace recorded;
  recorded.space.axes = cells_of(line);
  recorded.space.axes.pop_back();
  if (recorded.space.axes.empty()) fail_data(name + ":1: expected axes and a time");
  for (int at = 2; std::getline(lines, line); ++at) {
    const std::string where = fmt::format("{}:{}", name, at);
    const std::vector<std::string> cells = cells_of(line);
    if (cells.size() != recorded.space.axes.size() + 1)
      fail_data(fmt::format("{}: {} columns, expected {}", where, cells.size(),
                            recorded.space.axes.size() + 1));
    std::vector<int> point;
    for (size_t i = 0; i + 1 < cells.size(); ++i) point.push_back(number<int>(cells[i], where));
    recorded.space.points.push_back(point);
    recorded.times_us.push_back(cells.back().empty() ? std::numeric_limits<double>::quiet_NaN()
                                                     : number<double>(cells.back(), where));
  }
  if (recorded.space.points.empty()) fail_data(name + ": no points");
  return recorded;
}

}  // namespace fse
