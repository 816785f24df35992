#include "tuner/search.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "core/error.h"
#include "core/statistics.h"
#include "tuner/recorded_step.h"

namespace fse::test {
namespace {

RecordedSpace recorded(const std::string& name) {
  std::ostringstream text;
  text << std::ifstream(std::string(FSELAB_SOURCE_DIR) + "/tests/data/" + name, std::ios::binary)
              .rdbuf();
  return read_recorded_space(text.str(), name);
}

SearchSpace grid(int n) {
  SearchSpace space{.axes = {"a", "b"}};
  for (int a = 0; a < n; ++a)
    for (int b = 0; b < n; ++b) space.points.push_back({a, b});
  return space;
}

double median_evaluations(const RecordedSpace& r, SearchMethod method, uint64_t seeds = 15) {
  std::vector<double> evaluations;
  for (uint64_t seed = 1; seed <= seeds; ++seed)
    evaluations.push_back(evaluations_to_best(r.space, r.times_us, method, seed, 0.02));
  return median(evaluations);
}

}  // namespace

TEST_CASE("search: every point is asked for once, the default first, failures or not") {
  const SearchSpace space = grid(7);
  for (const auto& [method, name] : kNames<SearchMethod>)
    for (uint64_t seed = 1; seed < 20; ++seed) {
      CAPTURE(name);
      CAPTURE(seed);
      Searcher searcher(space, method, seed);
      std::set<size_t> asked;
      while (const auto point = searcher.ask()) {
        if (asked.empty()) CHECK(*point == 0);
        CHECK(asked.insert(*point).second);
        searcher.tell(*point, *point % 3 == 0 ? NAN : 1.0 + static_cast<double>(*point));
      }
      CHECK(asked.size() == space.points.size());
    }
}

TEST_CASE("search: the same seed asks the same, another seed differently") {
  const SearchSpace space = grid(9);
  const auto order = [&](SearchMethod method, uint64_t seed) {
    Searcher searcher(space, method, seed);
    std::vector<size_t> asked;
    while (const auto point = searcher.ask()) {
      asked.push_back(*point);
      searcher.tell(*point, 1 + std::abs(static_cast<double>(*point) - 40));
    }
    return asked;
  };
  for (const auto& [method, name] : kNames<SearchMethod>) {
    CAPTURE(name);
    CHECK(order(method, 5) == order(method, 5));
    CHECK(order(method, 5) != order(method, 6));
  }
}

TEST_CASE("search: on recorded spaces auto needs a tenth of the space at most, and beats random") {
  for (const char* name : {"fair_convolution_MI250X.csv", "fair_convolution_A100.csv"}) {
    CAPTURE(name);
    const RecordedSpace r = recorded(name);
    REQUIRE(r.space.points.size() == 4362);
    const double tenth = 0.1 * static_cast<double>(r.space.points.size());
    const double random = median_evaluations(r, SearchMethod::random);
    const double automatic = median_evaluations(r, automatic_method(r.space, 4362));
    CHECK(automatic <= tenth);
    CHECK(automatic < 0.5 * random);
    CHECK(median_evaluations(r, SearchMethod::local) < 0.5 * random);
  }
}

TEST_CASE("search: each method that is kept wins on some recorded space") {
  const RecordedSpace a100 = recorded("fair_convolution_A100.csv");
  const RecordedSpace mi250x = recorded("fair_convolution_MI250X.csv");
  const auto needs = [](const RecordedSpace& space, SearchMethod method) {
    return median_evaluations(space, method, 51);
  };
  CHECK(needs(a100, SearchMethod::evolutionary) < needs(a100, SearchMethod::local));
  CHECK(needs(mi250x, SearchMethod::local) < needs(mi250x, SearchMethod::evolutionary));
}

TEST_CASE("search: the cost model's order is followed, behind the default, except by random") {
  SearchSpace space = grid(8);
  for (size_t i = 0; i < space.points.size(); ++i)
    space.predicted_us.push_back(static_cast<double>((i * 37) % 64));
  const auto first = [&](SearchMethod method, size_t count) {
    Searcher searcher(space, method, 3);
    std::vector<double> predicted;
    for (size_t i = 0; i < count; ++i) {
      const size_t point = *searcher.ask();
      if (i == 0) CHECK(point == 0);
      if (i > 0) predicted.push_back(space.predicted_us[point]);
      searcher.tell(point, 1 + space.predicted_us[point]);
    }
    return predicted;
  };
  const auto sorted = [](const std::vector<double>& v) {
    return std::is_sorted(v.begin(), v.end());
  };
  CHECK(sorted(first(SearchMethod::local, 4)));
  CHECK(sorted(first(SearchMethod::evolutionary, 12)));
  CHECK_FALSE(sorted(first(SearchMethod::random, 12)));
}

TEST_CASE(
    "search: auto evolves without a model and with a thousand evaluations, else goes by "
    "neighbours") {
  SearchSpace space = grid(40);
  CHECK(automatic_method(space, 20) == SearchMethod::local);
  CHECK(automatic_method(space, 1600) == SearchMethod::evolutionary);
  space.predicted_us.resize(space.points.size());
  CHECK(automatic_method(space, 1600) == SearchMethod::local);
}

// Recorded on an H100, see tests/data/spaces: whole grids of tiles. Spaces of eight tiles are tried
// in whole.
TEST_CASE("search: on an H100's kernels auto needs a tenth of the space at most") {
  int spaces = 0;
  const std::filesystem::path folder = std::string(FSELAB_SOURCE_DIR) + "/tests/data/spaces";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".gz") continue;
    CAPTURE(entry.path().string());
    const RecordedStep step = read_recorded_step(entry.path());
    CHECK(static_cast<int>(step.tiles.size()) == step.legal);
    CHECK(step.legal <= 2000);
    const RecordedSpace r = space_of(step);
    const double points = static_cast<double>(r.space.points.size());
    if (points < 50) continue;
    ++spaces;
    const double automatic =
        median_evaluations(r, automatic_method(r.space, r.space.points.size()));
    CHECK(automatic <= 0.1 * points);
    CHECK(automatic <= median_evaluations(r, SearchMethod::random));
  }
  CHECK(spaces == 7);
}

TEST_CASE("search: a recorded space that is malformed gives one error that says where") {
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"", "s:1: expected axes and a time"},
      {"us\n1\n", "s:1: expected axes and a time"},
      {"a,us\n", "s: no points"},
      {"a,us\n1\n", "s:2: 1 columns, expected 2"},
      {"a,us\n1,2\nx,2\n", "s:3: 'x', expected a number"},
      {"a,us\n1,2x\n", "s:2: '2x'"}};
  for (const auto& [text, message] : bad) {
    CAPTURE(text);
    CHECK_THROWS_WITH_AS(read_recorded_space(text, "s"), doctest::Contains(message.c_str()), Error);
  }
  CHECK(std::isnan(read_recorded_space("a,us\n1,\n", "s").times_us[0]));
}

}  // namespace fse::test
