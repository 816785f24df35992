#pragma once
// The tiles of every kernel family, when they are legal, and what their launch needs. Host and
// device read the same functions, so a tile the host admits is one the kernel was compiled for.
#include "kernels/device/args.h"

// Kernels, their headers and name expressions; S is a Shape, every kernel takes one `const Args`:
//   stream.h    stream<StreamTile{..}, S, op>; op is kGate .. kMlp2
//   dense.h     dense<DenseTile{..}, S, op>: gate_gemm, mlp_stage1, mlp_stage2 of many tokens
//   plain.h     plain<PlainTile{..}, S, op>: the same ops for any shape
//   topk.h      topk<TopkTile{..}, S>, and score<..>, select<..> of the unfused chain
//   dispatch.h  dispatch<DispatchTile{..}>
//   layer.h     (tile: layer_tile.h) layer<LayerTile{..}, S>: from the gate to the combine in one
//               cooperative launch
//   rows.h      combine<RowTile{..}, S>, shared_add<..>, and renormalize<RowTile{..}>,
//               shared_activation<..>, slot_append<..>

// gpu.h defines it for the device compilers, before it includes this file.
#ifndef FSE_HD
#define FSE_HD
#endif

namespace fse::gpu {

// What legality and geometry depend on, of the device.
struct Limits {
  int wave;           // lanes of a wave: 32 or 64
  int lds_bytes;      // a block may use: 64 KB on gfx942, 160 KB on gfx950, 227 KB on sm_90
  int block_threads;  // at most, 1024
  int compute_units;
  int dependent_launch;  // 1: a kernel may start before its predecessor has ended
};

struct Launch {
  int blocks;
  int threads;
  int lds_bytes;  // dynamic
};

constexpr FSE_HD int ceil_div(int a, int b) {
  return (a + b - 1) / b;
}
constexpr FSE_HD int smaller(int a, int b) {
  return a < b ? a : b;
}
constexpr FSE_HD int larger(int a, int b) {
  return a < b ? b : a;
}
constexpr FSE_HD bool is_one_of(int v, int a, int b, int c = -1, int d = -1, int e = -1) {
  return v == a || v == b || v == c || v == d || v == e;
}

constexpr FSE_HD int weight_bytes(int format) {
  return format >= kFp8 ? 1 : 2;
}

// ---- streaming kernels: gate_gemm, grouped_stage1, grouped_stage2, mlp_stage1, mlp_stage2
//
// A unit is a group of tokens of one expert, a tile is `rows` weight rows of a unit over all of k.
// `split` warps share a tile, each streaming slices of rows x 128 bytes through its own ring.

struct StreamTile {
  int dependent;  // 1: launched while the predecessor ends
  int dense;      // 1: column c is token c for every expert, no gather; tokens <= width
  int robin;      // tile order: 0 one range per block, n: n tiles in turn over the blocks
  int warps;      // of a block
  int split;      // warps that share one tile's k
  int ring;       // slices per warp, one of them being read
  int rows;       // weight rows of a tile: 16, or fewer where there are few rows (gate_gemm)
  int width;      // tokens of a unit
};

inline constexpr int kSliceBytes = 128;
inline constexpr int kScaleBytes = 8;      // fp8: two scales beside each slice
inline constexpr int kStagedPairs = 4096;  // up to so many rows, their tokens are kept in LDS

constexpr FSE_HD const char* why_not(StreamTile t) {
  if (!is_one_of(t.warps, 4, 8, 16)) return "warps is 4, 8 or 16";
  if (!is_one_of(t.split, 1, 2, 4, 8, 16) || t.split > t.warps)
    return "split is a power of two up to warps";
  if (t.ring < 2 || t.ring > 8) return "ring is 2 to 8";
  if (!is_one_of(t.rows, 4, 8, 16)) return "rows is 4, 8 or 16";
  if (!is_one_of(t.width, 8, 16, 32, 64)) return "width is 8, 16, 32 or 64";
  if (t.dense < 0 || t.dense > 1) return "dense is 0 or 1";
  if (!is_one_of(t.robin, 0, 1, 2, 4, 8)) return "robin is 0, 1, 2, 4 or 8";
  if (t.dependent < 0 || t.dependent > 1) return "dependent is 0 or 1";
  return "";
}

// The ops a streaming kernel can do; a template argument beside tile and shape.
inline constexpr int kGate = 0;
inline constexpr int kStage1 = 1;
inline constexpr int kStage2 = 2;
inline constexpr int kMlp1 = 3;
inline constexpr int kMlp2 = 4;
// Stage 2 and combine in one, inside layer.h: a block owns 16 rows of the output and walks all
// units. Dense: columns are tokens, and sums stay in registers; else each warp has its own in LDS.
inline constexpr int kOwnedStage2 = 5;

// Bytes of one weight row: what is streamed per row of a tile.
constexpr FSE_HD int row_bytes(int op, Shape s) {
  if (op == kGate) return s.hidden * 2;
  return (op == kStage1 || op == kMlp1 ? s.hidden : s.intermediate) * weight_bytes(s.format);
}

// Units of `width` tokens there can be at most.
constexpr FSE_HD int max_units(int op, StreamTile t, Sizes n) {
  const int chunks = ceil_div(n.tokens, t.width);
  if (op == kGate || op == kMlp2) return chunks;
  if (op == kMlp1) return chunks * n.slots;
  const int pairs = n.tokens * n.choices;
  return smaller(pairs, n.expert_count + (t.dense ? 0 : pairs / t.width));
}

// Byte offsets in dynamic LDS.
struct StreamLayout {
  int scales, partials, units, pairs, weights, total;
};
constexpr FSE_HD StreamLayout stream_layout(int op, StreamTile t, Sizes n) {
  StreamLayout l{};
  l.scales = t.warps * t.ring * t.rows * kSliceBytes;
  l.partials = l.scales + t.warps * t.ring * kScaleBytes;
  // Two buffers let a tile's sums be taken while the next tile is multiplied.
  const bool gathers = op == kOwnedStage2 && !t.dense;
  const int columns = gathers ? n.tokens : (t.width <= 16 ? 2 : 1) * t.width;
  l.units = l.partials + t.warps * columns * (t.rows + 1) * 4;
  l.pairs = l.units + 8 * max_units(op, t, n) + 4 * 40;
  const int pairs = n.tokens * n.choices;
  const bool grouped = op == kStage1 || op == kStage2;
  l.weights = l.pairs + (grouped && pairs <= kStagedPairs ? 4 * pairs : 0);
  l.total = l.weights + (op == kStage2 && pairs <= kStagedPairs ? 4 * pairs : 0);
  l.total = ceil_div(l.total, 16) * 16;
  return l;
}

constexpr FSE_HD const char* why_not_here(int op, StreamTile t, Shape s, Sizes n, Limits d) {
  if (row_bytes(op, s) % 16 != 0) return "weight rows are not a multiple of 16 bytes";
  if (s.hidden % 8 != 0) return "hidden is not a multiple of 8";
  if (t.warps * d.wave > d.block_threads) return "more threads than a block may have";
  if (t.dense && op != kStage1 && op != kOwnedStage2) return "dense: stage 1 only";
  if (t.dense && n.tokens > t.width) return "dense: more tokens than width";
  if (t.rows != 16 && op != kGate) return "rows below 16: gate_gemm only";
  if (t.dependent && !d.dependent_launch) return "dependent: the device has no such launch";
  if (stream_layout(op, t, n).total > d.lds_bytes) return "more LDS than the device has";
  return "";
}

// Rows of one unit's output: what tiles divide. Stage 1 puts rows / 2 gate rows and the same rows /
// 2 up rows into a tile.
constexpr FSE_HD int tiles_per_unit(int op, StreamTile t, Shape s, Sizes n) {
  if (op == kGate) return ceil_div(n.row_end - n.row_begin, t.rows);
  return op == kStage1 || op == kMlp1 ? ceil_div(s.intermediate, t.rows / 2)
                                      : ceil_div(s.hidden, t.rows);
}

constexpr FSE_HD Launch launch_of(int op, StreamTile t, Shape s, Sizes n, Limits d) {
  const long long tiles = static_cast<long long>(max_units(op, t, n)) * tiles_per_unit(op, t, s, n);
  const int teams = t.warps / t.split;
  const long long blocks = (tiles + teams - 1) / teams;
  return {static_cast<int>(blocks < d.compute_units ? blocks : d.compute_units), t.warps * d.wave,
          stream_layout(op, t, n).total};
}

// ---- dense kernels: gate_gemm, mlp_stage1 and mlp_stage2 of many tokens, 16-bit weights
//
// A block has a tile of `rows` weight rows and `columns` tokens; a warp 32 of its rows, and its
// share of the columns.

struct DenseTile {
  int dependent;
  int rows;
  int columns;
  int ring;  // slices of 128 bytes of each row and token
  int warps;
};

inline constexpr int kWarpRows = 32;
inline constexpr int kDenseTokens = 512;  // from here on: fewer are streamed past in less time

// As the streaming kernels see it: chunks of tokens, and tiles of rows.
constexpr FSE_HD StreamTile units_of(DenseTile t) {
  return {t.dependent, 0, 1, t.warps, 1, t.ring, t.rows, t.columns};
}
constexpr FSE_HD const char* why_not(DenseTile t) {
  if (!is_one_of(t.rows, 32, 64, 128)) return "rows is 32, 64 or 128";
  if (!is_one_of(t.columns, 32, 64, 128)) return "columns is 32, 64 or 128";
  if (!is_one_of(t.warps, 2, 4, 8)) return "warps is 2, 4 or 8";
  if (t.ring < 2 || t.ring > 8) return "ring is 2 to 8";
  if (t.dependent < 0 || t.dependent > 1) return "dependent is 0 or 1";
  const int columns = t.columns * t.rows / kWarpRows / t.warps;  // of a warp
  if (t.warps % (t.rows / kWarpRows) != 0) return "warps is a multiple of rows / 32";
  if (columns < 16 || columns > 64) return "a warp has 16 to 64 columns";
  return "";
}
constexpr FSE_HD int dense_lds(DenseTile t) {
  return t.ring * (t.rows + t.columns) * kSliceBytes;
}
constexpr FSE_HD const char* why_not_here(int op, DenseTile t, Shape s, Sizes n, Limits d) {
  if (n.tokens < kDenseTokens) return "fewer than 512 tokens";
  if (op != kGate && s.format >= kFp8) return "fp8 weights";
  if (row_bytes(op, s) % 16 != 0) return "weight rows are not a multiple of 16 bytes";
  if (s.hidden % 8 != 0) return "hidden is not a multiple of 8";
  if (t.rows % (t.warps * d.wave / 8) != 0) return "rows: more threads than copy them";
  if (t.columns % (t.warps * d.wave / 8) != 0) return "columns: more threads than copy them";
  if (t.warps * d.wave > d.block_threads) return "more threads than a block may have";
  if (t.dependent && !d.dependent_launch) return "dependent: the device has no such launch";
  if (dense_lds(t) > d.lds_bytes) return "more LDS than the device has";
  return "";
}
constexpr FSE_HD Launch launch_of(int op, DenseTile t, Shape s, Sizes n, Limits d) {
  const StreamTile units = units_of(t);
  return {max_units(op, units, n) * tiles_per_unit(op, units, s, n), t.warps * d.wave,
          dense_lds(t)};
}

// ---- plain kernels: the same five ops for every shape, a wave for each output element

struct PlainTile {
  int dependent;
  int warps;
};

constexpr FSE_HD const char* why_not(PlainTile t) {
  if (!is_one_of(t.warps, 4, 8, 16)) return "warps is 4, 8 or 16";
  if (t.dependent < 0 || t.dependent > 1) return "dependent is 0 or 1";
  return "";
}
constexpr FSE_HD const char* why_not_here(PlainTile t, Limits d) {
  if (t.warps * d.wave > d.block_threads) return "more threads than a block may have";
  if (t.dependent && !d.dependent_launch) return "dependent: the device has no such launch";
  return "";
}
constexpr FSE_HD Launch launch_of(PlainTile t, Limits d) {
  return {d.compute_units * 4, t.warps * d.wave, 0};
}

// ---- topk: a wave for each token; the fused op, and score and select of the unfused chain

struct TopkTile {
  int dependent;
  int warps;
};

inline constexpr int kMaxExperts = 1024;
inline constexpr int kMaxTopK = 32;

constexpr FSE_HD const char* why_not(TopkTile t) {
  if (!is_one_of(t.warps, 1, 2, 4, 8)) return "warps is 1, 2, 4 or 8";
  if (t.dependent < 0 || t.dependent > 1) return "dependent is 0 or 1";
  return "";
}
// Candidates and their ids, a word of each for a lane; before them, where there are groups, keys
// and a word per group.
inline constexpr int kCandidateBytes = 2 * 64 * 4;
constexpr FSE_HD int topk_lds(TopkTile t, Shape s, Routing r) {
  const int groups = r.groups > 1 ? 4 * (s.experts + r.groups) : 0;
  return t.warps * larger(kCandidateBytes, groups);
}
// Routing by a whole block: experts of each of its waves.
constexpr FSE_HD int block_share(Shape s, int waves) {
  return ceil_div(s.experts, waves);
}
inline constexpr int kBlockRoutedTokens = 8;
constexpr FSE_HD int block_topk_lds(Shape s, int waves) {  // of BlockWords
  return 4 * (2 * s.experts + 5 * waves);
}
// What a block has chosen for a token, in LDS.
struct BlockChosen {
  float largest, sum;  // of ScoreRule
  float shared_logit;
  int ids[kMaxTopK];
  float logits[kMaxTopK];
};
constexpr FSE_HD const char* why_not_here(TopkTile t, Shape s, Sizes n, Routing r, Limits d) {
  if (s.experts > kMaxExperts) return "more than 1024 experts";
  if (n.top_k > kMaxTopK) return "top_k above 32";
  if (t.dependent && !d.dependent_launch) return "dependent: the device has no such launch";
  if (topk_lds(t, s, r) > d.lds_bytes) return "more LDS than the device has";
  return "";
}
constexpr FSE_HD Launch launch_of(TopkTile t, Shape s, Sizes n, Routing r, Limits d) {
  return {ceil_div(n.tokens, t.warps), t.warps * d.wave, topk_lds(t, s, r)};
}

// ---- dispatch: pairs sorted by expert, each wave counting a contiguous part of them

struct DispatchTile {
  int dependent;
  int experts;  // of a block, each of which reads all ids; 0: one block sorts all
  int warps;
};

constexpr FSE_HD const char* why_not(DispatchTile t) {
  if (!is_one_of(t.warps, 1, 2, 4, 8, 16) && t.warps != 32) return "warps is 1, 2, 4, 8, 16 or 32";
  if (!is_one_of(t.experts, 0, 1, 2, 4, 8)) return "experts is 0, 1, 2, 4 or 8";
  if (t.dependent < 0 || t.dependent > 1) return "dependent is 0 or 1";
  return "";
}
// A counter per wave and expert, and one partial sum per wave; or one for the experts before.
constexpr FSE_HD int dispatch_lds(DispatchTile t, Sizes n) {
  return 4 * (t.experts ? t.warps * (t.experts + 1) : t.warps * n.expert_count + 64);
}
constexpr FSE_HD const char* why_not_here(DispatchTile t, Sizes n, Limits d) {
  if (t.warps * d.wave > d.block_threads) return "more threads than a block may have";
  if (t.dependent && !d.dependent_launch) return "dependent: the device has no such launch";
  if (dispatch_lds(t, n) > d.lds_bytes) return "more LDS than the device has";
  return "";
}
constexpr FSE_HD Launch launch_of(DispatchTile t, Sizes n, Limits d) {
  return {t.experts ? ceil_div(n.expert_count, t.experts) : 1, t.warps * d.wave,
          dispatch_lds(t, n)};
}

// ---- row kernels: renormalize, shared_activation, slot_append, combine, shared_add

struct RowTile {
  int dependent;
  int threads;
};

constexpr FSE_HD const char* why_not(RowTile t) {
  if (!is_one_of(t.threads, 64, 128, 256, 512)) return "threads is 64, 128, 256 or 512";
  if (t.dependent < 0 || t.dependent > 1) return "dependent is 0 or 1";
  return "";
}
constexpr FSE_HD const char* why_not_here(RowTile t, Limits d) {
  if (t.dependent && !d.dependent_launch) return "dependent: the device has no such launch";
  return "";
}
// `items`: tokens for the routing ops; tokens * ceil(hidden / 8) for combine and shared_add.
constexpr FSE_HD Launch launch_of(RowTile t, long long items, Limits d) {
  const long long blocks = (items + t.threads - 1) / t.threads;
  const long long most = 8LL * d.compute_units;
  return {static_cast<int>(blocks < most ? blocks : most), t.threads, 0};
}
constexpr FSE_HD long long row_items(Shape s, Sizes n, bool per_token) {
  return per_token ? n.tokens : static_cast<long long>(n.tokens) * ceil_div(s.hidden, 8);
}

}  // namespace fse::gpu
