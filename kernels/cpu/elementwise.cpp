#include <limits>

#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/elementwise-inl.h"
#include "kernels/cpu/elementwise.h"

HWY_BEFORE_NAMESPACE();
namespace fse::HWY_NAMESPACE {
namespace {

void silu_mul_here(const float* gate, const float* up, float* out, int64_t n) {
  for_each_vector(n, [&](auto load, auto store) {
    const Vec g = load(gate);
    store(hn::Mul(hn::Mul(g, sigmoid_of(g)), load(up)), out);
  });
}

void scale_to_here(const float* in, float weight, float* out, int64_t n) {
  const Vec w = hn::Set(F32(), weight);
  for_each_vector(n, [&](auto load, auto store) { store(hn::Mul(w, load(in)), out); });
}

void add_to_here(const float* in, float* out, int64_t n) {
  for_each_vector(n, [&](auto load, auto store) { store(hn::Add(load(out), load(in)), out); });
}

// The rule of core/routing.h: 0 from -87 down.
void sigmoid_here(const float* in, float* out, int64_t n) {
  for_each_vector(n, [&](auto load, auto store) {
    const Vec v = load(in);
    store(hn::IfThenZeroElse(hn::Le(v, hn::Set(F32(), -87.0f)), sigmoid_of(v)), out);
  });
}

// The rule of core/routing.h. Every element goes through the same instructions, the last ones of a
// row too: equal logits must get equal scores, or ties would not be ties.
void softmax_here(const float* in, float* out, int64_t n) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  float largest = -infinity;
  for (int64_t i = 0; i < n; ++i) largest = in[i] > largest ? in[i] : largest;  // false for NaN
  const Vec top = hn::Set(F32(), largest);
  for_each_vector(n, [&](auto load, auto store) {
    const Vec logit = load(in);
    const Vec weight = largest == infinity
                           ? hn::IfThenElseZero(hn::Eq(logit, top), hn::Set(F32(), 1.0f))
                       : largest == -infinity ? hn::Zero(F32())
                                              : exp_of(hn::Sub(logit, top));
    store(hn::IfThenElse(hn::IsNaN(logit), logit, weight), out);
  });
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += out[i] == out[i] ? out[i] : 0.0f;
  if (sum > 0) scale_to_here(out, 1 / sum, out, n);
}

}  // namespace
}  // namespace fse::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fse {
HWY_EXPORT(silu_mul_here);
HWY_EXPORT(scale_to_here);
HWY_EXPORT(add_to_here);
HWY_EXPORT(sigmoid_here);
HWY_EXPORT(softmax_here);
void silu_mul(const float* gate, const float* up, float* out, int64_t n) {
  HWY_DYNAMIC_DISPATCH(silu_mul_here)(gate, up, out, n);
}
void scale_to(const float* in, float weight, float* out, int64_t n) {
  HWY_DYNAMIC_DISPATCH(scale_to_here)(in, weight, out, n);
}
void add_to(const float* in, float* out, int64_t n) {
  HWY_DYNAMIC_DISPATCH(add_to_here)(in, out, n);
}
void sigmoid(const float* in, float* out, int64_t n) {
  HWY_DYNAMIC_DISPATCH(sigmoid_here)(in, out, n);
}
void softmax(const float* in, float* out, int64_t n) {
  HWY_DYNAMIC_DISPATCH(softmax_here)(in, out, n);
}
std::string simd_target() {
  return hwy::TargetName(hwy::SupportedTargets() & HWY_TARGETS &
                         -(hwy::SupportedTargets() & HWY_TARGETS));
}
}  // namespace fse
#endif
