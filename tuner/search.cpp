#include "tuner/search.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace fse {
namespace {

size_t axes_apart(const std::vector<int>& a, const std::vector<int>& b) {
  size_t apart = 0;
  for (size_t i = 0; i < a.size(); ++i) apart += a[i] != b[i];
  return apart;
}

}  // namespace

Searcher::Searcher(const SearchSpace& space, SearchMethod method, uint64_t seed)
    : method_(method), rng_(seed), points_(space.points) {
  for (size_t i = 0; i < space.points.size(); ++i) left_.push_back(i);
  for (size_t i = left_.size(); i > 2; --i)  // the default keeps its place
    std::swap(left_[i - 1],
              left_[1 + static_cast<size_t>(rng_.below(static_cast<int64_t>(i - 1)))]);
  std::reverse(left_.begin(), left_.end());
}

size_t Searcher::draw() {
  const size_t point = left_.back();
  left_.pop_back();
  return point;
}

std::optional<size_t> Searcher::ask() {
  if (left_.empty()) return std::nullopt;
  const bool first = !std::exchange(asked_, true);
  if (first || method_ == SearchMethod::random) return draw();
  if (const auto next = neighbour()) return next;
  centre_.reset();  // the next point that does not fail becomes the centre, whatever it takes
  return draw();
}

// One that differs in a single axis, in random order: left_ is shuffled.
std::optional<size_t> Searcher::neighbour() {
  if (!centre_) return std::nullopt;
  for (auto it = left_.rbegin(); it != left_.rend(); ++it) {
    if (axes_apart(points_[*it], points_[*centre_]) != 1) continue;
    const size_t point = *it;
    left_.erase(std::next(it).base());
    return point;
  }
  return std::nullopt;
}

void Searcher::tell(size_t point, double time_us) {
  if (!(time_us > 0) || (centre_ && !(time_us < centre_time_))) return;
  centre_ = point;
  centre_time_ = time_us;
}

int evaluations_to_best(const SearchSpace& space, const std::vector<double>& times_us,
                        SearchMethod method, uint64_t seed, double within) {
  double best = std::numeric_limits<double>::infinity();
  for (const double t : times_us) best = t < best ? t : best;
  Searcher searcher(space, method, seed);
  int evaluations = 0;
  while (const auto point = searcher.ask()) {
    ++evaluations;
    if (times_us[*point] <= best * (1 + within)) break;
    searcher.tell(*point, times_us[*point]);
  }
  return evaluations;
}

}  // namespace fse
