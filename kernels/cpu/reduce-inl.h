// Horizontal sums, once per SIMD target.
#if defined(FSELAB_KERNELS_CPU_REDUCE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FSELAB_KERNELS_CPU_REDUCE_INL_H_
#undef FSELAB_KERNELS_CPU_REDUCE_INL_H_
#else
#define FSELAB_KERNELS_CPU_REDUCE_INL_H_
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fse::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR
template <class V>
HWY_INLINE void sums_of_4(V a, V b, V c, V d, float* out) {
  out[0] = hn::GetLane(a);
  out[1] = hn::GetLane(b);
  out[2] = hn::GetLane(c);
  out[3] = hn::GetLane(d);
}
#else
// Halves are added until four lanes are left.
template <class V>
HWY_INLINE auto to_four_lanes(V v) {
  if constexpr (hn::MaxLanes(hn::DFromV<V>()) <= 4) {
    return v;
  } else {
    const hn::Half<hn::DFromV<V> > half;
    return to_four_lanes(hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}

// out[0..3] = the sums of a, b, c and d: within each 128-bit block the four are transposed while
// they are added, 13 operations for the four where single sums take 8 each.
template <class V>
HWY_INLINE void sums_of_4(V a, V b, V c, V d, float* out) {
  const hn::DFromV<V> f;
  const hn::Repartition<double, hn::DFromV<V> > pairs;
  const V ab = hn::Add(hn::InterleaveLower(f, a, b), hn::InterleaveUpper(f, a, b));
  const V cd = hn::Add(hn::InterleaveLower(f, c, d), hn::InterleaveUpper(f, c, d));
  const auto p = hn::BitCast(pairs, ab);
  const auto q = hn::BitCast(pairs, cd);
  const V abcd = hn::Add(hn::BitCast(f, hn::InterleaveLower(pairs, p, q)),
                         hn::BitCast(f, hn::InterleaveUpper(pairs, p, q)));
  const auto four = to_four_lanes(abcd);
  hn::StoreU(four, hn::DFromV<decltype(four)>(), out);
}
#endif

// out[i] = sum of v[i], i < count; count is 1, 2 or 4.
template <int count, class V>
HWY_INLINE void sums(const V* v, float* out) {
  if constexpr (count == 4) {
    sums_of_4(v[0], v[1], v[2], v[3], out);
  } else {
    for (int i = 0; i < count; ++i) out[i] = hn::GetLane(hn::SumOfLanes(hn::DFromV<V>(), v[i]));
  }
}

}  // namespace fse::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
