#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/names.h"
#include "core/rng.h"

namespace fse {

// How the next candidate is chosen from what the ones before it measured. On recorded spaces both
// others need fewer evaluations than `random`, each the fewest somewhere (bench_search). The cost
// model's order alone, annealing, a forest of random trees, an additive model and a Gaussian
// process were tried as well and won nowhere.
enum class SearchMethod {
  random,        // without replacement
  local,         // the best point's neighbours, from a new point where none is better
  evolutionary,  // broods of the best points' children
};
template <>
inline constexpr NameTable<SearchMethod, 3> kNames<SearchMethod>{
    {{SearchMethod::random, "random"},
     {SearchMethod::local, "local"},
     {SearchMethod::evolutionary, "evolutionary"}}};

// A finite space: every point holds a value for each axis. Point 0 is the default.
struct SearchSpace {
  std::vector<std::string> axes;
  std::vector<std::vector<int>> points;
  std::vector<double> predicted_us = {};  // by a cost model, parallel to points; or empty
};

// What searches a space when nothing else is said and `evaluations` of its points are affordable:
// the neighbours of the best, which the cost model begins where there is one; without it, evolution
// where a thousand and more are affordable.
SearchMethod automatic_method(const SearchSpace&, size_t evaluations);

// Asks for one point after the other, each once, the default first, and is told what it took:
// a time above 0, or NaN where it failed. The same seed and answers give the same questions. Points
// are drawn in the cost model's order where there is one, except by `random`; `local` asks for its
// three favourites before it looks at neighbours. A copy goes on by itself.
class Searcher {
 public:
  Searcher(SearchSpace, SearchMethod, uint64_t seed);
  std::optional<size_t> ask();  // nullopt when every point was asked for
  void tell(size_t point, double time_us);

 private:
  struct Index;  // of the space, shared by copies
  std::optional<size_t> draw();
  std::optional<size_t> neighbour();
  std::optional<size_t> child();
  std::vector<int> cross();
  void breed();

  SearchMethod method_;
  Rng rng_;
  std::shared_ptr<const Index> index_;
  std::vector<size_t> left_;   // those not asked for and some that were; the next is the last
  std::vector<bool> asked_;    // by point
  std::vector<size_t> brood_;  // evolutionary: children to ask for; the next is the last
  std::vector<std::pair<double, size_t>> best_;  // the fastest few: times, points
  std::optional<size_t> centre_;                 // local: whose neighbours are tried
  int favourites_ = 0;  // local: so many more are drawn: the default, what the model likes best
};

// Evaluations until a time within `within` of the space's best was seen; times_us holds NaN for
// points that failed.
int evaluations_to_best(const SearchSpace&, const std::vector<double>& times_us, SearchMethod,
                        uint64_t seed, double within);

// A recorded space: a CSV whose last column is the time, empty for a failure. Throws Error(data).
struct RecordedSpace {
  SearchSpace space;
  std::vector<double> times_us;
};
RecordedSpace read_recorded_space(const std::string& text, const std::string& name);

}  // namespace fse
