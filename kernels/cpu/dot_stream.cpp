#include "kernels/cpu/dot_rows.h"

#include <algorithm>

#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/dot_stream.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/dots-inl.h"
#include "kernels/cpu/reduce-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fse::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kReduced = 4;  // rows whose sums are taken together

int64_t padded_depth(int64_t depth) {
  return (depth + kChunk - 1) / kChunk * kChunk;
}

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
