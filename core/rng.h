#pragma once
#include <cmath>
#include <cstdint>
#include <numbers>
#include <utility>
#include <vector>

namespace fse {

// SplitMix64 (Steele, Lea, Flood 2014) and the few distributions workloads need. The standard
// library's distributions differ between implementations; a seed must mean the same everywhere.
class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  double uniform() { return (static_cast<double>(next() >> 11) + 0.5) * 0x1p-53; }  // (0, 1)
  int64_t below(int64_t n) { return static_cast<int64_t>(next() % static_cast<uint64_t>(n)); }
  double gumbel() { return -std::log(-std::log(uniform())); }
  double normal() {  // Box-Muller
    return std::sqrt(-2 * std::log(uniform())) * std::cos(2 * std::numbers::pi * uniform());
  }
  // Gamma(shape, 1): Marsaglia and Tsang 2000, with their boost for shape < 1.
  double gamma(double shape) {
    if (shape < 1) return gamma(shape + 1) * std::pow(uniform(), 1 / shape);
    const double d = shape - 1.0 / 3;
    for (;;) {
      const double x = normal();
      const double v = std::pow(1 + x / std::sqrt(9 * d), 3);
      if (v > 0 && std::log(uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
    }
  }

 private:
  uint64_t state_;
};

// Fisher-Yates, of what lies behind the first `from` items.
template <class T>
void shuffle(std::vector<T>& items, Rng& rng, size_t from = 0) {
  for (size_t i = items.size(); i > from + 1; --i)
    std::swap(items[i - 1],
              items[from + static_cast<size_t>(rng.below(static_cast<int64_t>(i - from)))]);
}

}  // namespace fse
