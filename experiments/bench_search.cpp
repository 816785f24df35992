// Replays recorded spaces: how many evaluations each search method needs to come within 2 % of the
// best point. bench_search SPACE.csv... RECORDED_STEP.jsonl.gz...
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/read_file.h"
#include "core/statistics.h"
#include "reports/grid.h"
#include "tuner/recorded_step.h"
#include "tuner/search.h"

namespace fse {
namespace {

constexpr int kSeeds = 101;
constexpr double kWithin = 0.02;

Summary evaluations(const RecordedSpace& recorded, SearchMethod method) {
  std::vector<double> needed;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed)
    needed.push_back(evaluations_to_best(recorded.space, recorded.times_us, method, seed, kWithin));
  return summarize(needed);
}

RecordedSpace read_space(const std::string& file) {
  if (file.ends_with(".gz")) return space_of(read_recorded_step(file));
  return read_recorded_space(read_file(file).value_or(""), file);
}

int64_t near_best(const std::vector<double>& times_us) {
  double best = INFINITY;
  for (const double us : times_us) best = us < best ? us : best;
  return std::count_if(times_us.begin(), times_us.end(),
                       [&](double us) { return us <= best * (1 + kWithin); });
}

std::vector<Cell> row_of(const std::string& file) {
  const RecordedSpace recorded = read_space(file);
  const size_t points = recorded.space.points.size();
  const SearchMethod automatic = automatic_method(recorded.space, points);
  std::string name = std::filesystem::path(file).filename().string();
  std::vector<Cell> row{name.substr(0, name.find('.')), static_cast<int64_t>(points),
                        near_best(recorded.times_us)};
  double random = 0, needed = 0;
  for (const auto& [method, text] : kNames<SearchMethod>) {
    const Summary s = evaluations(recorded, method);
    if (method == SearchMethod::random) random = s.median;
    if (method == automatic) needed = s.median;
    row.emplace_back(fmt::format("{:.0f} [{:.0f}, {:.0f}]", s.median, s.lo, s.hi));
  }
  row.emplace_back(to_name(automatic));
  row.emplace_back(fmt::format("{:.1f} %", 100 * needed / static_cast<double>(points)));
  row.emplace_back(fmt::format("{:.2f}", needed / random));
  return row;
}

int print_spaces(const std::vector<std::string>& files) {
  Grid grid{.columns = {"space", "points", "near best"}, .rows = {}};
  for (const auto& [method, name] : kNames<SearchMethod>) grid.columns.emplace_back(name);
  for (const char* name : {"auto is", "auto's share", "auto / random"})
    grid.columns.emplace_back(name);
  for (const std::string& file : files) grid.rows.push_back(row_of(file));
  fmt::print(
      "Evaluations until within {:.0f} % of the best, median of {} seeds [95 % interval]\n\n{}",
      100 * kWithin, kSeeds, to_markdown(grid));
  return 0;
}

}  // namespace
}  // namespace fse

int main(int argc, char** argv) try {
  if (argc < 2)
    fse::fail_usage(
        "no space, expected files such as tests/data/fair_*.csv and "
        "tests/data/spaces/*.gz");
  return fse::print_spaces({argv + 1, argv + argc});
} catch (const fse::Error& error) {
  fmt::print(stderr, "bench_search: {}\n", error.what());
  return static_cast<int>(error.kind);
}
