#include "kernels/cpu/select.h"

#include <cmath>
#include <limits>

#include "core/routing.h"

namespace fse {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

// The best `capacity` candidates seen so far, best first. Ids come in ascending order, so a key
// equal to one that is held ranks behind it.
class Best {
 public:
  Best(Candidate* held, int capacity) : held_(held), capacity_(capacity) {}

  void offer(float key, int32_t id) {
    if (count_ == capacity_ && !(key > held_[count_ - 1].key)) return;
    int at = count_ < capacity_ ? count_++ : count_ - 1;
    for (; at > 0 && key > held_[at - 1].key; --at) held_[at] = held_[at - 1];
    held_[at] = {key, id};
  }

 private:
  Candidate* held_;
  int capacity_;
  int count_ = 0;
};

float key_of(const float* scores, const float* bias, int e) {
  const float key = bias ? scores[e] + bias[e] : scores[e];
  return std::isnan(key) ? kLowest : key;
}

float group_score(const RoutingSpec& r, const float* scores, const float* bias, int first) {
  const int width = r.experts / r.groups;
  float best = kLowest, second = kLowest;
  for (int e = first; e < first + width; ++e) {
    const float key = key_of(scores, bias, e);
    if (key > best) {
      second = best;
      best = key;
    } else if (key > second) {
      second = key;
    }
  }
  return r.group_score == GroupScore::sum_of_top2 && width > 1 ? best + second : best;
}

// Marks the kept groups in `kept`, one entry per group.
void keep_groups(const RoutingSpec& r, const float* scores, const float* bias, Candidate* best,
                 Candidate* kept) {
  Best groups(best, r.groups_kept);
  const int width = r.experts / r.groups;
  for (int g = 0; g < r.groups; ++g) groups.offer(group_score(r, scores, bias, g * width), g);
  for (int g = 0; g < r.groups; ++g) kept[g].id = 0;
  for (int i = 0; i < r.groups_kept; ++i) kept[best[i].id].id = 1;
}

}  // namespace

int64_t select_scratch(const RoutingSpec& r) {
  return int64_t{r.top_k} + r.groups_kept + r.groups;
}

void select_row(const RoutingSpec& r, const float* scores, const float* bias,
                std::span<Candidate> scratch, int32_t* ids, float* weights) {
  Candidate* chosen = scratch.data();
  Candidate* kept = chosen + r.top_k + r.groups_kept;
  if (r.groups > 1) keep_groups(r, scores, bias, chosen + r.top_k, kept);
  Best best(chosen, r.top_k);
  const int width = r.experts / r.groups;
  for (int g = 0; g < r.groups; ++g) {
    if (r.groups > 1 && kept[g].id == 0) continue;
    for (int e = g * width; e < (g + 1) * width; ++e) best.offer(key_of(scores, bias, e), e);
  }
  for (int i = 0; i < r.top_k; ++i) {
    ids[i] = chosen[i].id;
    const float score = scores[chosen[i].id];
    weights[i] = std::isnan(score) ? 0.0f : score;
  }
}

// In double, so that a weight is rounded once.
void weigh_row(const RoutingSpec& r, float* weights) {
  double sum = 0;
  for (int i = 0; i < r.top_k; ++i) sum += weights[i];
  const double divisor = r.renormalize ? sum + kSumFloor : 1;
  for (int i = 0; i < r.top_k; ++i)
    weights[i] = static_cast<float>(weights[i] / divisor * r.scaling);
}

}  // namespace fse
