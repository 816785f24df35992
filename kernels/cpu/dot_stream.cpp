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
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(F32()));
constexpr int kReduced = 4;  // rows whose sums are taken together

int64_t padded_depth(int64_t depth) {
  return (depth + kChunk - 1) / kChunk * kChunk;
}

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

// What all blocks of a call share.
struct Call {
  const DotRows& job;
  const StreamTile& tile;
  const float* packed;  // [tokens][padded_depth]
};

// Sums of R rows and T tokens over the whole depth, each still spread over a vector's lanes.
template <class Codec, int R, int T>
HWY_INLINE void vector_sums(const Call& c, int64_t row, int64_t token, Vec (&total)[R][T]) {
  Dots<Codec, R, T> dots;
  for (int r = 0; r < R; ++r)
    dots.w[r] = reinterpret_cast<const typename Codec::Element*>(c.job.rows.row(row + r));
  for (int t = 0; t < T; ++t) dots.x[t] = c.packed + (token + t) * padded_depth(c.job.depth);
  if constexpr (Codec::kScaled) dots.scales = c.job.rows.scales_of(row);
  // 512 bytes ahead on the one stream that rows in order are, or the next rows of four streams:
  // both measured as the fastest on Zen 4. Later tokens find the rows in cache.
  if (c.tile.prefetch && token == 0) dots.prefetch_bytes = R == 1 ? 512 : R * c.job.rows.row_bytes;
  dots.run(c.job.depth, total);
}

// N rows, R of them side by side, times T tokens.
template <class Codec, int N, int R, int T>
void rows_by_tokens(const Call& c, int64_t row, int64_t token) {
  Vec total[T][N];
  for (int n = 0; n < N; n += R) {
    Vec part[R][T];
    vector_sums<Codec, R, T>(c, row + n, token, part);
    for (int r = 0; r < R; ++r)
      for (int t = 0; t < T; ++t) total[t][n + r] = part[r][t];
  }
  for (int t = 0; t < T; ++t) {
    float sum[N];
    sums<N>(total[t], sum);
    float* out = c.job.out + (token + t) * c.job.out_stride + row - c.job.row_begin;
    for (int n = 0; n < N; ++n) {
      const float value = sum[n] * Codec::kUnit;
      out[n] = c.job.accumulate ? out[n] + value : value;
    }
  }
}

// N rows: a single token's pass side by side or not, as the tile says. More tokens are bound by the
// multipliers, and four rows share each of their inputs.
template <class Codec, int N>
int64_t all_rows(const Call& c, int64_t row) {
  for (; row + N <= c.job.row_end; row += N) {
    int64_t t = 0;
    for (; t + 4 <= c.job.tokens; t += 4) rows_by_tokens<Codec, N, N, 4>(c, row, t);
    for (; t + 2 <= c.job.tokens; t += 2) rows_by_tokens<Codec, N, N, 2>(c, row, t);
    if (t == c.job.tokens) continue;
    if (c.tile.rows == N)
      rows_by_tokens<Codec, N, N, 1>(c, row, t);
    else
      rows_by_tokens<Codec, N, 1, 1>(c, row, t);
  }
  return row;
}

// One token's inputs, zeros behind them, in the codec's order.
template <class Codec>
void pack(const float* x, int64_t depth, float* to) {
  const int64_t padded = padded_depth(depth);
  std::transform(x, x + depth, to, [](float v) { return v * Codec::kInputScale; });
  std::fill(to + depth, to + padded, 0.0f);
#if HWY_TARGET != HWY_SCALAR
  if constexpr (Codec::kOrder == Order::pairs)
    for (float* p = to; p < to + padded; p += 2 * kLanes) {
      Vec v[2];
      hn::LoadInterleaved2(F32(), p, v[0], v[1]);
      for (int i = 0; i < 2; ++i) hn::Store(v[i], F32(), p + i * kLanes);
    }
  if constexpr (Codec::kOrder == Order::quads)
    for (float* p = to; p < to + padded; p += 4 * kLanes) {
      Vec v[4];
      hn::LoadInterleaved4(F32(), p, v[0], v[1], v[2], v[3]);
      for (int i = 0; i < 4; ++i) hn::Store(v[i], F32(), p + i * kLanes);
    }
#endif
}

template <class Codec>
const float* packed_inputs(const DotRows& j, StreamInputs& inputs, Scratch& scratch) {
  const int64_t padded = padded_depth(j.depth);
  const bool held = inputs.depth == j.depth &&
                    static_cast<int64_t>(inputs.packed.size()) == j.tokens &&
                    std::equal(inputs.packed.begin(), inputs.packed.end(), j.x);
  if (held) return inputs.data.data();
  inputs.packed.assign(j.x, j.x + j.tokens);
  inputs.depth = j.depth;
  inputs.data = scratch.get<float>(3, j.tokens * padded);
  for (int64_t t = 0; t < j.tokens; ++t)
    pack<Codec>(j.x[t], j.depth, inputs.data.data() + t * padded);
  return inputs.data.data();
}

template <class Codec>
void run(const DotRows& j, const StreamTile& tile, StreamInputs& inputs, Scratch& scratch) {
  const Call call{j, tile, packed_inputs<Codec>(j, inputs, scratch)};
  const int64_t row = all_rows<Codec, kReduced>(call, j.row_begin);
  all_rows<Codec, 1>(call, row);
}

void dot_stream_here(const DotRows& j, const StreamTile& tile, StreamInputs& inputs,
                     Scratch& scratch) {
  switch (j.rows.dtype) {
    case DType::f32:
      return run<F32Codec>(j, tile, inputs, scratch);
    case DType::bf16:
      return run<Bf16Codec>(j, tile, inputs, scratch);
    case DType::f16:
      return run<F16Codec>(j, tile, inputs, scratch);
    case DType::fp8_block128:
      return tile.shift ? run<Fp8ShiftCodec>(j, tile, inputs, scratch)
                        : run<Fp8Codec>(j, tile, inputs, scratch);
  }
}

}  // namespace
}  // namespace fse::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fse {
HWY_EXPORT(dot_stream_here);
void dot_stream(const DotRows& job, const StreamTile& tile, StreamInputs& inputs,
                Scratch& scratch) {
  HWY_DYNAMIC_DISPATCH(dot_stream_here)(job, tile, inputs, scratch);
}
}  // namespace fse
#endif
