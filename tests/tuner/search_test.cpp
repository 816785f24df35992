#include "tuner/search.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <set>
#include <sstream>

#include "core/error.h"
#include "core/statistics.h"

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

double median_evaluations(const RecordedSpace& r, SearchMethod method) {
  std::vector<double> evaluations;
  for (uint64_t seed = 1; seed <= 15; ++seed)
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

TEST_CASE("search: on recorded spaces local needs a tenth of the space at most, and beats random") {
  for (const char* name : {"fair_convolution_MI250X.csv", "fair_convolution_A100.csv"}) {
    CAPTURE(name);
    const RecordedSpace r = recorded(name);
    REQUIRE(r.space.points.size() == 4362);
    const double local = median_evaluations(r, SearchMethod::local);
    CHECK(local <= 0.1 * static_cast<double>(r.space.points.size()));
    CHECK(local < 0.5 * median_evaluations(r, SearchMethod::random));
  }
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
