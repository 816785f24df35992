#include <algorithm>

#include "kernels/cpu/dot_rows.h"
#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/dot_block.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/codec-inl.h"
#include "kernels/cpu/reduce-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fse::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kRows = 4;       // of weights in a register block
constexpr int kMaxTokens = 6;  // 4 * 6 sums + 4 weights + 1 input = 29 of 32 registers
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(F32()));

// Four weight rows over one range of the sum, as f32.
struct Panel {
  const float* row[kRows];
  const float* next[kRows];  // where the following panel's bytes begin, to be prefetched
};

// The inputs of T tokens are interleaved, a vector of each in turn: x is read as one stream.
template <int T>
HWY_INLINE void block_product(const Panel& p, const float* x, int64_t vectors, int first_ahead,
                              int last_ahead, float* out, int64_t out_stride, int rows,
                              bool accumulate) {
  Vec acc[T][kRows];
  for (auto& token : acc)
    for (auto& a : token) a = hn::Zero(F32());
  for (int64_t v = 0; v < vectors; ++v) {
    Vec w[kRows];
    for (int r = 0; r < kRows; ++r) w[r] = hn::LoadU(F32(), p.row[r] + v * kLanes);
    for (int r = first_ahead; r < last_ahead; ++r) __builtin_prefetch(p.next[r] + v * kLanes, 0, 2);
    for (int t = 0; t < T; ++t) {
      const Vec xt = hn::Load(F32(), x + (v * T + t) * kLanes);
      for (int r = 0; r < kRows; ++r) acc[t][r] = hn::MulAdd(w[r], xt, acc[t][r]);
    }
  }
  for (int t = 0; t < T; ++t) {
    float sum[kRows];
    sums<kRows>(acc[t], sum);
    for (int r = 0; r < rows; ++r)
      out[t * out_stride + r] = accumulate ? out[t * out_stride + r] + sum[r] : sum[r];
  }
}

using Product = void (*)(const Panel&, const float*, int64_t, int, int, float*, int64_t, int, bool);
constexpr Product kProducts[kMaxTokens + 1] = {nullptr,          block_product<1>, block_product<2>,
                                               block_product<3>, block_product<4>, block_product<5>,
                                               block_product<6>};

// Tokens in nearly equal parts of at most `most`: 20 in parts of 6 are 5, 5, 5, 5.
struct Parts {
  int64_t tokens, count;
  int64_t begin(int64_t part) const { return tokens * part / count; }
};
Parts parts_of(int64_t tokens, int most) {
  return {tokens, (tokens + most - 1) / most};
}

HWY_INLINE Vec load_some(const float* p, int64_t n) {
  return n >= kLanes ? hn::LoadU(F32(), p) : load_tail<F32Codec>(p, static_cast<size_t>(n));
}

void pack_inputs(const DotRows& j, const Parts& parts, int64_t begin, int64_t depth, float* to) {
  const int64_t vectors = (depth + kLanes - 1) / kLanes;
  for (int64_t part = 0; part < parts.count; ++part) {
    const int64_t first = parts.begin(part), count = parts.begin(part + 1) - first;
    float* tile = to + first * vectors * kLanes;
    for (int64_t t = 0; t < count; ++t)
      for (int64_t v = 0; v < vectors; ++v)
        hn::Store(load_some(j.x[first + t] + begin + v * kLanes, depth - v * kLanes), F32(),
                  tile + (v * count + t) * kLanes);
  }
}

template <class Codec>
void convert_row(const DotRows& j, int64_t row, int64_t begin, int64_t depth, float* to) {
  const auto* from = reinterpret_cast<const typename Codec::Element*>(j.rows.row(row)) + begin;
  for (int64_t k = 0; k < depth; k += kLanes) {
    Vec v = k + kLanes <= depth ? Codec::load(from + k)
                                : load_tail<Codec>(from + k, static_cast<size_t>(depth - k));
    if constexpr (Codec::kScaled) {
      const float scale = j.rows.scales_of(row)[(begin + k) / kScaleBlock];
      v = hn::Mul(v, hn::Set(F32(), scale * Codec::kUnit));
    }
    hn::Store(v, F32(), to + k);
  }
}

template <class Codec>
void run(const DotRows& j, const BlockTile& tile, Scratch& scratch) {
  const Parts parts = parts_of(j.tokens, std::min(tile.tokens, kMaxTokens));
  const int64_t most = std::min(tile.depth, (j.depth + kLanes - 1) / kLanes * kLanes);
  float* x = scratch.get<float>(3, (j.tokens + kRows) * most).data();
  float* panel = x + j.tokens * most;
  for (int64_t begin = 0; begin < j.depth; begin += most) {
    const int64_t depth = std::min(most, j.depth - begin);
    const int64_t vectors = (depth + kLanes - 1) / kLanes;
    // f32 weights are read where they lie, except where a row ends inside a vector.
    const bool direct = std::is_same_v<Codec, F32Codec> && depth % kLanes == 0;
    pack_inputs(j, parts, begin, depth, x);
    for (int64_t row = j.row_begin; row < j.row_end; row += kRows) {
      const auto rows = static_cast<int>(std::min<int64_t>(kRows, j.row_end - row));
      Panel p;
      for (int r = 0; r < kRows; ++r) {
        const int64_t at = row + std::min(r, rows - 1);
        const auto* stored = reinterpret_cast<const typename Codec::Element*>(j.rows.row(at));
        if (!direct && r < rows) convert_row<Codec>(j, at, begin, depth, panel + r * most);
        p.row[r] = direct ? reinterpret_cast<const float*>(stored) + begin
                          : panel + std::min(r, rows - 1) * most;
        p.next[r] = reinterpret_cast<const float*>(j.rows.row(at + kRows)) + begin;
      }
      for (int64_t part = 0; part < parts.count; ++part) {
        const int64_t t = parts.begin(part), count = parts.begin(part + 1) - t;
        const auto ahead = [&](int64_t n) {
          return direct ? static_cast<int>(kRows * n / parts.count) : 0;
        };
        kProducts[count](p, x + t * vectors * kLanes, vectors, ahead(part), ahead(part + 1),
                         j.out + t * j.out_stride + row - j.row_begin, j.out_stride, rows,
                         j.accumulate || begin > 0);
      }
    }
  }
}

void dot_block_here(const DotRows& j, const BlockTile& tile, Scratch& scratch) {
  switch (j.rows.dtype) {
    case DType::f32:
      return run<F32Codec>(j, tile, scratch);
    case DType::bf16:
      return run<Bf16Codec>(j, tile, scratch);
    case DType::f16:
      return run<F16Codec>(j, tile, scratch);
    case DType::fp8_block128:
      return run<Fp8Codec>(j, tile, scratch);
  }
}

}  // namespace
}  // namespace fse::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fse {
HWY_EXPORT(dot_block_here);
void dot_block(const DotRows& job, const BlockTile& tile, Scratch& scratch) {
  HWY_DYNAMIC_DISPATCH(dot_block_here)(job, tile, scratch);
}
}  // namespace fse
#endif
