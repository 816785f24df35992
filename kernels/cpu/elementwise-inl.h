// Vector loops and the exponential, once per SIMD target.
#if defined(FSELAB_KERNELS_CPU_ELEMENTWISE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FSELAB_KERNELS_CPU_ELEMENTWISE_INL_H_
#undef FSELAB_KERNELS_CPU_ELEMENTWISE_INL_H_
#else
#define FSELAB_KERNELS_CPU_ELEMENTWISE_INL_H_
#endif

#include <cstring>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fse::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using Vec = hn::Vec<F32>;

// body(load, store) for each vector of n elements; the last one is padded with zeros.
template <class Body>
HWY_INLINE void for_each_vector(int64_t n, const Body& body) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(F32()));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    body([&](const float* p) { return hn::LoadU(F32(), p + i); },
         [&](Vec v, float* p) { hn::StoreU(v, F32(), p + i); });
  if (i == n) return;
  const size_t bytes = static_cast<size_t>(n - i) * sizeof(float);
  HWY_ALIGN float padded[HWY_MAX_BYTES / sizeof(float)];
  body(
      [&](const float* p) {
        hn::Store(hn::Zero(F32()), F32(), padded);
        std::memcpy(padded, p + i, bytes);
        return hn::Load(F32(), padded);
      },
      [&](Vec v, float* p) {
        hn::Store(v, F32(), padded);
        std::memcpy(p + i, padded, bytes);
      });
}

// exp(v) of v <= 0, -inf included; 0 for NaN.
HWY_INLINE Vec exp_of(Vec v) {
  return hn::Exp(F32(), v);
}

// By the exponential of a negative number only, so that nothing overflows. NaN stays NaN.
HWY_INLINE Vec sigmoid_of(Vec v) {
  const Vec one = hn::Set(F32(), 1.0f);
  const Vec e = exp_of(hn::Neg(hn::Abs(v)));
  const Vec numerator = hn::IfThenElse(hn::Ge(v, hn::Zero(F32())), one, e);
  return hn::IfThenElse(hn::IsNaN(v), v, hn::Div(numerator, hn::Add(one, e)));
}

}  // namespace fse::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
