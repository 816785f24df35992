// Replays recorded spaces: how many evaluations each search method needs to come within 2 % of the
// best point. bench_search SPACE.csv...
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "core/error.h"
#include "core/statistics.h"
#include "tuner/search.h"

namespace fse {
namespace {

constexpr int kSeeds = 51;

void print_space(const std::string& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  const RecordedSpace recorded = read_recorded_space(text.str(), file);
  const size_t points = recorded.space.points.size();
  fmt::print("{}: {} points, {} seeds, evaluations to within 2 % of the best\n", file, points,
             kSeeds);
  for (const auto& [method, name] : kNames<SearchMethod>) {
    std::vector<double> evaluations;
    for (int seed = 1; seed <= kSeeds; ++seed)
      evaluations.push_back(evaluations_to_best(recorded.space, recorded.times_us, method,
                                                static_cast<uint64_t>(seed), 0.02));
    const Summary s = summarize(evaluations);
    fmt::print("  {:<10} median {:>6.0f}  95 % interval {:>5.0f} to {:>5.0f}  ({:.1f} % of it)\n",
               name, s.median, s.lo, s.hi, 100 * s.median / static_cast<double>(points));
  }
}

}  // namespace
}  // namespace fse

int main(int argc, char** argv) try {
  if (argc < 2) fse::fail_usage("no space, expected CSV files such as tests/data/fair_*.csv");
  for (int i = 1; i < argc; ++i) fse::print_space(argv[i]);
  return 0;
} catch (const fse::Error& error) {
  fmt::print(stderr, "bench_search: {}\n", error.what());
  return static_cast<int>(error.kind);
}
