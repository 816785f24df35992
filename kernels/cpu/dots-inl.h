// Dot products of weight rows and inputs on registers, once per SIMD target.
#if defined(FSELAB_KERNELS_CPU_DOTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FSELAB_KERNELS_CPU_DOTS_INL_H_
#undef FSELAB_KERNELS_CPU_DOTS_INL_H_
#else
#define FSELAB_KERNELS_CPU_DOTS_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/cpu/codec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fse::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kChunk = kScaleBlock;  // elements between two looks at prefetching and scales
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(F32()));

// R weight rows times T tokens. Each pair has U accumulators, so that a multiply-add need not wait
// for the one before (about 4 cycles, two of them a cycle: 8 chains); scaled chunks are independent
// of each other and need fewer.
template <class Codec, int R, int T>
struct Dots {
  using Element = typename Codec::Element;
  static constexpr int kGroup = Codec::kGroup;
  static constexpr int64_t kStep = kGroup * kLanes;
  static constexpr int kChains = Codec::kScaled ? 2 : 8;
  static constexpr int U = R * T >= kChains ? 1 : R * T >= kChains / 2 ? 2 : 4;
  const Element* w[R];
  const float* x[T];
  const float* scales = nullptr;
  int64_t prefetch_bytes = 0;
  Vec acc[U][R][T];

  HWY_INLINE void clear() {
    for (auto& u : acc)
      for (auto& r : u)
        for (auto& a : r) a = hn::Zero(F32());
  }

  // Vector i of a group, for each of the R rows, times the inputs at k.
  HWY_INLINE void multiply(const Vec (&ws)[R][kGroup], int64_t k, int step) {
    for (int i = 0; i < kGroup; ++i) {
      const int u = (step * kGroup + i) % U;
      for (int t = 0; t < T; ++t) {
        const Vec xt = hn::Load(F32(), x[t] + k + i * kLanes);
        for (int r = 0; r < R; ++r) acc[u][r][t] = hn::MulAdd(ws[r][i], xt, acc[u][r][t]);
      }
    }
  }

  HWY_INLINE void prefetch(int64_t k) const {
    if (prefetch_bytes == 0) return;
    for (int r = 0; r < R; ++r) {
      const char* ahead = reinterpret_cast<const char*>(w[r] + k) + prefetch_bytes;
      for (size_t b = 0; b < kChunk * sizeof(Element); b += 64)
        __builtin_prefetch(ahead + b, 0, 2);  // into the second level: the first holds x
    }
  }

  HWY_INLINE void full_chunk(int64_t begin) {
    for (int64_t k = 0; k < kChunk; k += kStep) {
      Vec ws[R][kGroup];
      for (int r = 0; r < R; ++r) Codec::load_group(w[r] + begin + k, ws[r]);
      multiply(ws, begin + k, static_cast<int>(k / kStep));
    }
  }

  HWY_INLINE void last_chunk(int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; k += kStep) {
      Vec ws[R][kGroup];
      for (int r = 0; r < R; ++r) {
        if (k + kStep <= end)
          Codec::load_group(w[r] + k, ws[r]);
        else
          load_tail_group<Codec>(w[r] + k, static_cast<size_t>(end - k), ws[r]);
      }
      multiply(ws, k, 0);
    }
  }

  // Adds up the U accumulators into the first.
  HWY_INLINE void fold() {
    for (int u = 1; u < U; ++u)
      for (int r = 0; r < R; ++r)
        for (int t = 0; t < T; ++t) acc[0][r][t] = hn::Add(acc[0][r][t], acc[u][r][t]);
  }

  HWY_INLINE void apply_scale(int64_t begin, Vec (&total)[R][T]) {
    fold();
    const Vec scale = hn::Set(F32(), scales[begin / kScaleBlock]);
    for (int r = 0; r < R; ++r)
      for (int t = 0; t < T; ++t) total[r][t] = hn::MulAdd(acc[0][r][t], scale, total[r][t]);
    clear();
  }

  HWY_INLINE void run(int64_t depth, Vec (&total)[R][T]) {
    for (auto& r : total)
      for (auto& t : r) t = hn::Zero(F32());
    clear();
    int64_t k = 0;
    for (; k + kChunk <= depth; k += kChunk) {
      prefetch(k);
      full_chunk(k);
      if constexpr (Codec::kScaled) apply_scale(k, total);
    }
    if (k < depth) {
      last_chunk(k, depth);
      if constexpr (Codec::kScaled) apply_scale(k, total);
    }
    if constexpr (Codec::kScaled) return;
    fold();
    for (int r = 0; r < R; ++r)
      for (int t = 0; t < T; ++t) total[r][t] = acc[0][r][t];
  }
};

}  // namespace fse::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
