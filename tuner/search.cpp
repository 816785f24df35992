#include "tuner/search.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

namespace fse {
namespace {

constexpr size_t kParents = 12;
constexpr int kFavourites = 3;  // of the cost model
constexpr size_t kMany = 1000;  // evaluations from which evolution pays

size_t axes_apart(const std::vector<int>& a, const std::vector<int>& b) {
  size_t apart = 0;
  for (size_t i = 0; i < a.size(); ++i) apart += a[i] != b[i];
  return apart;
}

}  // namespace

struct Searcher::Index {
  SearchSpace space;
  std::map<std::vector<int>, size_t> places;
};

SearchMethod automatic_method(const SearchSpace& space, size_t evaluations) {
  const bool evolve = space.predicted_us.empty() && evaluations > kMany;
  return evolve ? SearchMethod::evolutionary : SearchMethod::local;
}

Searcher::Searcher(SearchSpace space, SearchMethod method, uint64_t seed)
    : method_(method), rng_(seed), asked_(space.points.size()) {
  for (size_t i = 0; i < space.points.size(); ++i) left_.push_back(i);
  for (size_t i = left_.size(); i > 2; --i)  // the default keeps its place
    std::swap(left_[i - 1],
              left_[1 + static_cast<size_t>(rng_.below(static_cast<int64_t>(i - 1)))]);
  const std::vector<double>& predicted = space.predicted_us;
  if (!predicted.empty()) favourites_ = 1 + kFavourites;
  if (method != SearchMethod::random && !predicted.empty() && !left_.empty())
    std::stable_sort(left_.begin() + 1, left_.end(),
                     [&](size_t a, size_t b) { return predicted[a] < predicted[b]; });
  std::reverse(left_.begin(), left_.end());
  auto index = std::make_shared<Index>();
  for (size_t i = 0; i < space.points.size(); ++i) index->places.emplace(space.points[i], i);
  index->space = std::move(space);
  index_ = std::move(index);
}

std::optional<size_t> Searcher::ask() {
  std::optional<size_t> point;
  if (method_ == SearchMethod::local) point = neighbour();
  if (method_ == SearchMethod::evolutionary) point = child();
  if (!point) point = draw();
  if (point) asked_[*point] = true;
  if (favourites_ > 0) --favourites_;
  return point;
}

std::optional<size_t> Searcher::draw() {
  while (!left_.empty() && asked_[left_.back()]) left_.pop_back();
  if (left_.empty()) return std::nullopt;
  return left_.back();
}

// One that differs in a single axis. Where there is none, the next point that does not fail
// becomes the centre, whatever it takes.
std::optional<size_t> Searcher::neighbour() {
  if (!centre_ || favourites_ > 0) return std::nullopt;
  const auto& points = index_->space.points;
  for (auto it = left_.rbegin(); it != left_.rend(); ++it)
    if (!asked_[*it] && axes_apart(points[*it], points[*centre_]) == 1) return *it;
  centre_.reset();
  best_.clear();
  return std::nullopt;
}

std::optional<size_t> Searcher::child() {
  if (best_.size() < kParents) return std::nullopt;
  if (brood_.empty()) breed();
  if (brood_.empty()) return std::nullopt;
  const size_t point = brood_.back();
  brood_.pop_back();
  return point;
}

// Every axis from one of two parents, the better of two each; one axis in a point, on average, as
// in any point of the space.
std::vector<int> Searcher::cross() {
  const auto& points = index_->space.points;
  const auto below = [&](size_t n) {
    return static_cast<size_t>(rng_.below(static_cast<int64_t>(n)));
  };
  const auto parent = [&] {
    const size_t a = below(best_.size()), b = below(best_.size());
    return best_[std::min(a, b)].second;
  };
  std::vector<int> child = points[parent()];
  const std::vector<int>& other = points[parent()];
  for (size_t axis = 0; axis < child.size(); ++axis) {
    if (below(2) == 0) child[axis] = other[axis];
    if (below(child.size()) == 0) child[axis] = points[below(points.size())][axis];
  }
  return child;
}

// Children come in broods, so that a GPU's compiler can make them side by side.
void Searcher::breed() {
  constexpr int kTries = 240;
  constexpr size_t kBrood = 6;
  for (int tries = 0; tries < kTries && brood_.size() < kBrood; ++tries) {
    const auto found = index_->places.find(cross());
    if (found == index_->places.end() || asked_[found->second]) continue;
    if (std::find(brood_.begin(), brood_.end(), found->second) == brood_.end())
      brood_.push_back(found->second);
  }
}

void Searcher::tell(size_t point, double time_us) {
  if (!(time_us > 0)) return;
  best_.insert(std::upper_bound(best_.begin(), best_.end(), std::pair(time_us, point)),
               {time_us, point});
  if (best_.size() > kParents) best_.pop_back();
  centre_ = best_.front().second;
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
