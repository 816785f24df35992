#include "kernels/cpu/dot_rows.h"

#include <algorithm>

#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/dot_stream.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/codec-inl.h"
#include "kernels/cpu/reduce-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fse::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kChunk = kScaleBlock;  // elements between two looks at prefetching and scales

// R weight rows times T tokens. Each pair has U accumulators, so that a multiply-add need not wait
// for the one before (about 4 cycles, two of them a cycle: 8 chains).
template <class Codec, int R, int T>
struct Dots {
  using Element = typename Codec::Element;
  static constexpr int U = R * T >= 8 ? 1 : R * T >= 4 ? 2 : 4;
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

  HWY_INLINE void step(int64_t k, int u) {
    Vec xs[T];
    for (int t = 0; t < T; ++t) xs[t] = hn::LoadU(F32(), x[t] + k);
    for (int r = 0; r < R; ++r) {
      const Vec wr = Codec::load(w[r] + k);
      for (int t = 0; t < T; ++t) acc[u][r][t] = hn::MulAdd(wr, xs[t], acc[u][r][t]);
    }
  }

  HWY_INLINE void tail(int64_t k, size_t n) {
    for (int r = 0; r < R; ++r) {
      const Vec wr = load_tail<Codec>(w[r] + k, n);
      for (int t = 0; t < T; ++t)
        acc[0][r][t] = hn::MulAdd(wr, load_tail<F32Codec>(x[t] + k, n), acc[0][r][t]);
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
    constexpr auto kLanes = static_cast<int64_t>(hn::MaxLanes(F32()));
    for (int64_t k = begin; k < begin + kChunk; k += U * kLanes)
      for (int u = 0; u < U; ++u) step(k + u * kLanes, u);
  }

  HWY_INLINE void rest(int64_t begin, int64_t end) {
    const auto lanes = static_cast<int64_t>(hn::Lanes(F32()));
    int64_t k = begin;
    for (; k + lanes <= end; k += lanes) step(k, 0);
    if (k < end) tail(k, static_cast<size_t>(end - k));
  }

  // Adds up the U accumulators into the first.
  HWY_INLINE void fold() {
    for (int u = 1; u < U; ++u)
      for (int r = 0; r < R; ++r)
        for (int t = 0; t < T; ++t) acc[0][r][t] = hn::Add(acc[0][r][t], acc[u][r][t]);
  }

  template <bool full>
  HWY_INLINE void chunk(int64_t begin, int64_t end, Vec (&total)[R][T]) {
    if constexpr (Codec::kScaled) clear();
    if constexpr (full)
      full_chunk(begin);
    else
      rest(begin, end);
    if constexpr (Codec::kScaled) {
      fold();
      const Vec scale = hn::Set(F32(), scales[begin / kScaleBlock] * Codec::kUnit);
      for (int r = 0; r < R; ++r)
        for (int t = 0; t < T; ++t) total[r][t] = hn::MulAdd(acc[0][r][t], scale, total[r][t]);
    }
  }

  HWY_INLINE void run(int64_t depth, Vec (&total)[R][T]) {
    for (auto& r : total)
      for (auto& t : r) t = hn::Zero(F32());
    clear();
    int64_t k = 0;
    for (; k + kChunk <= depth; k += kChunk) {
      prefetch(k);
      chunk<true>(k, k + kChunk, total);
    }
    if (k < depth) chunk<false>(k, depth, total);
    if constexpr (Codec::kScaled) return;
    fold();
    for (int r = 0; r < R; ++r)
      for (int t = 0; t < T; ++t) total[r][t] = acc[0][r][t];
  }
};

template <class Codec, int R, int T>
HWY_INLINE void rows_by_tokens(const DotRows& j, int64_t ahead, int64_t row, int64_t token) {
  Dots<Codec, R, T> dots;
  for (int r = 0; r < R; ++r)
    dots.w[r] = reinterpret_cast<const typename Codec::Element*>(j.rows.row(row + r));
  for (int t = 0; t < T; ++t) dots.x[t] = j.x[token + t];
  if constexpr (Codec::kScaled) dots.scales = j.rows.scales_of(row);
  dots.prefetch_bytes = token == 0 ? ahead : 0;
  Vec total[R][T];
  dots.run(j.depth, total);
  for (int t = 0; t < T; ++t) {
    float sum[R];
    Vec column[R];
    for (int r = 0; r < R; ++r) column[r] = total[r][t];
    sums<R>(column, sum);
    float* out = j.out + (token + t) * j.out_stride + row - j.row_begin;
    for (int r = 0; r < R; ++r) out[r] = j.accumulate ? out[r] + sum[r] : sum[r];
  }
}

template <class Codec, int R>
void rows_by_all_tokens(const DotRows& j, int64_t ahead, int64_t row) {
  int64_t t = 0;
  for (; t + 4 <= j.tokens; t += 4) rows_by_tokens<Codec, R, 4>(j, ahead, row, t);
  for (; t + 2 <= j.tokens; t += 2) rows_by_tokens<Codec, R, 2>(j, ahead, row, t);
  if (t < j.tokens) rows_by_tokens<Codec, R, 1>(j, ahead, row, t);
}

template <class Codec, int R>
int64_t all_rows(const DotRows& j, int64_t ahead, int64_t row) {
  for (; row + R <= j.row_end; row += R) rows_by_all_tokens<Codec, R>(j, ahead, row);
  return row;
}

template <class Codec>
void run(const DotRows& j, const StreamTile& tile) {
  const int64_t ahead = tile.prefetch_rows * j.rows.row_bytes;
  int64_t row = j.row_begin;
  if (tile.rows >= 4) row = all_rows<Codec, 4>(j, ahead, row);
  if (tile.rows >= 2) row = all_rows<Codec, 2>(j, ahead, row);
  all_rows<Codec, 1>(j, ahead, row);
}

void dot_stream_here(const DotRows& j, const StreamTile& tile) {
  switch (j.rows.dtype) {
    case DType::f32:
      return run<F32Codec>(j, tile);
    case DType::bf16:
      return run<Bf16Codec>(j, tile);
    case DType::f16:
      return run<F16Codec>(j, tile);
    case DType::fp8_block128:
      return run<Fp8Codec>(j, tile);
  }
}

}  // namespace
}  // namespace fse::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fse {
HWY_EXPORT(dot_stream_here);
void dot_stream(const DotRows& job, const StreamTile& tile) {
  HWY_DYNAMIC_DISPATCH(dot_stream_here)(job, tile);
}
}  // namespace fse
#endif
