#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/names.h"
#include "core/rng.h"

namespace fse {

// How the next candidate is chosen from what the ones before it measured. A Gaussian process was
// tried as well and dropped: on no recorded space did it need fewer evaluations than `local`.
enum class SearchMethod {
  random,  // without replacement
  local,   // the best point's neighbours, from a new random point where none is better
};
template <>
inline constexpr NameTable<SearchMethod, 2> kNames<SearchMethod>{
    {{SearchMethod::random, "random"}, {SearchMethod::local, "local"}}};

// A finite space: every point holds a value for each axis. Point 0 is the default.
struct SearchSpace {
  std::vector<std::string> axes;
  std::vector<std::vector<int>> points;
};

// Asks for one point after the other, each once, the default first, and is told what it took:
// a time above 0, or NaN where it failed. The same seed and answers give the same questions.
class Searcher {
 public:
  Searcher(const SearchSpace&, SearchMethod, uint64_t seed);
  std::optional<size_t> ask();  // nullopt when every point was asked for
  void tell(size_t point, double time_us);

 private:
  size_t draw();
  std::optional<size_t> neighbour();

  SearchMethod method_;
  Rng rng_;
  std::vector<std::vector<int>> points_;
  std::vector<size_t> left_;      // not asked for, in random order
  std::optional<size_t> centre_;  // local: whose neighbours are tried
  double centre_time_ = 0;
  bool asked_ = false;
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
