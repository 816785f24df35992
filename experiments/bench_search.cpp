// Replays recorded spaces: how many evaluations each search method needs to come within 2 % of the
// best point. bench_search SPACE.csv... RECORDED_STEP.jsonl.gz...
#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/read_file.h"
#include "core/statistics.h"
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

void print_space(const std::string& file) {
  const RecordedSpace recorded = read_space(file);
  const size_t points = recorded.space.points.size();
  const SearchMethod automatic = automatic_method(recorded.space, points);
  const double random = evaluations(recorded, SearchMethod::random).median;
  fmt::print("{}: {} points, {} seeds, evaluations to within {:.0f} % of the best\n", file, points,
             kSeeds, 100 * kWithin);
  for (const auto& [method, name] : kNames<SearchMethod>) {
    if (method == SearchMethod::ranked && recorded.space.predicted_us.empty()) continue;
    const Summary s = evaluations(recorded, method);
    fmt::print(
        "  {:<12} median {:>6.0f}  95 % interval {:>5.0f} to {:>5.0f}  {:>5.1f} % of it{}{}\n",
        name, s.median, s.lo, s.hi, 100 * s.median / static_cast<double>(points),
        fmt::format("  {:.2f} of random", s.median / random),
        method == automatic ? "  (auto)" : "");
  }
}

}  // namespace
}  // namespace fse

int main(int argc, char** argv) try {
  if (argc < 2)
    fse::fail_usage(
        "no space, expected files such as tests/data/fair_*.csv and "
        "tests/data/spaces/*.gz");
  for (int i = 1; i < argc; ++i) fse::print_space(argv[i]);
  return 0;
} catch (const fse::Error& error) {
  fmt::print(stderr, "bench_search: {}\n", error.what());
  return static_cast<int>(error.kind);
}
