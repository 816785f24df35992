#pragma once
// The work of a streaming kernel: units (tokens of one expert), and where a unit's tokens and
// results lie. Units come from the dispatched offsets, or are chunks of all tokens.
#include "kernels/device/numbers.h"

namespace fse::gpu {

struct Unit {
  int expert;
  int begin;  // first row of the sorted pairs, or first token
  int count;
  u32 tokens;  // dense kOwnedStage2: a bit for each token that has a row, in order
};

// Scales of a slice: of its gate rows and its up rows, or the same twice.
struct alignas(8) Scales {
  float v[2];
};

// Two words a unit: expert below count << 16 and tokens << 24, and begin.
struct UnitList {
  const u32* words;
  int count;
};

// Every block builds the same list from the offsets: experts in order, each cut into units of
// `width` rows (one unit of all its rows where width is 0). All threads of the block call it.
FSE_D UnitList build_units(const int* offsets, int experts, int width, u32* words, int* scratch) {
  const int threads = block_threads(), thread = thread_index();
  const int share = ceil_div(experts, threads);
  const int first = smaller(thread * share, experts), last = smaller(first + share, experts);
  const auto units_of = [&](int e) {
    const int rows = offsets[e + 1] - offsets[e];
    return width == 0 ? (rows > 0 ? 1 : 0) : ceil_div(rows, width);
  };
  int mine = 0;
  for (int e = first; e < last; ++e) mine += units_of(e);
  const int inclusive = wave_inclusive_sum(mine);
  if (lane_index() == kWave - 1) scratch[thread / kWave] = inclusive;
  block_sync();
  int at = inclusive - mine, total = 0;
  for (int w = 0; w < threads / kWave; ++w) {
    if (w < thread / kWave) at += scratch[w];
    total += scratch[w];
  }
  for (int e = first; e < last; ++e) {
    const int begin = offsets[e], end = offsets[e + 1], step = width == 0 ? end - begin : width;
    for (int row = begin; row < end; row += step, ++at) {
      words[2 * at] = static_cast<u32>(e) | static_cast<u32>(smaller(step, end - row)) << 16;
      words[2 * at + 1] = static_cast<u32>(row);
    }
  }
  block_sync();
  return {words, total};
}

// What the five ops read and write, given the tile.
template <StreamTile T, Shape S, int kOp>
struct StreamWork {
  static constexpr bool kOwned = kOp == kOwnedStage2;
  static constexpr bool kOwnedColumns = kOwned && T.dense;  // in registers
  static constexpr bool kGrouped = kOp == kStage1 || kOp == kStage2 || kOwned;
  static constexpr bool kPaired = kOp == kStage1 || kOp == kMlp1;  // gate rows beside up rows
  static constexpr int kFormat = kOp == kGate ? kBf16 : S.format;
  static constexpr bool kFp8Weights = kFormat >= kFp8;
  static constexpr int kK = kPaired || kOp == kGate ? S.hidden : S.intermediate;
  static constexpr int kRowBytes = row_bytes(kOp, S);
  static constexpr int kRowSlices = ceil_div(kRowBytes, kSliceBytes);
  static constexpr int kSliceElements = kSliceBytes / (kFp8Weights ? 1 : 2);
  static constexpr int kScaleColumns = ceil_div(kK, 128);
  static constexpr int kOutputs = kPaired ? T.rows / 2 : T.rows;   // results of a tile, per token
  static constexpr int kFirstRow = kPaired ? T.rows / 2 : T.rows;  // rows from one tile to the next

  const Args& a;
  UnitList list;
  const int* pairs = nullptr;      // of all sorted rows, in LDS where they fit
  const int* tokens = nullptr;     // the same divided by choices, where a plan has them
  const float* weights = nullptr;  // stage 2: of all sorted rows, by row in LDS, else by pair
  bool staged = false;

  FSE_D explicit StreamWork(const Args& args) : a(args), list{} {}

  FSE_D void build(char* lds) {
    const StreamLayout at = stream_layout(kOp, T, a.n);
    if constexpr (kGrouped) {
      int* scratch = reinterpret_cast<int*>(lds + at.pairs) - 40;
      const int rows = a.n.tokens * a.n.choices;
      staged = rows <= kStagedPairs;
      pairs = a.sorted_pairs;
      weights = a.topk_weights;
      if (staged) stage_rows(lds, at, a.expert_offsets[a.n.expert_count]);
      list = build_units(a.expert_offsets, a.n.expert_count, T.dense ? 0 : T.width,
                         reinterpret_cast<u32*>(lds + at.units), scratch);
    } else {
      const int chunks = ceil_div(a.n.tokens, T.width);
      list.count = kOp == kMlp1 ? chunks * a.n.slots : chunks;
    }
  }
  FSE_D void stage_rows(char* lds, StreamLayout at, int rows) {
    int* to = reinterpret_cast<int*>(lds + at.pairs);
    float* weight_to = reinterpret_cast<float*>(lds + at.weights);
    for (int i = thread_index(); i < rows; i += block_threads()) {
      to[i] = a.sorted_pairs[i];
      if constexpr (kOp == kStage2) weight_to[i] = a.topk_weights[a.sorted_pairs[i]];
    }
    pairs = to;
    weights = weight_to;
  }

  FSE_D Unit unit(int u) const {
    if constexpr (kGrouped) {
      const u32 word = list.words[2 * u];
      return {static_cast<int>(word & 0xffff), static_cast<int>(list.words[2 * u + 1]),
              static_cast<int>(word >> 16 & 0xff), word >> 24};
    }
    const int chunks = ceil_div(a.n.tokens, T.width);
    const int slot = u < chunks ? 0 : u / chunks;
    const int begin = (u - slot * chunks) * T.width;
    return {S.experts + slot, begin, smaller(T.width, a.n.tokens - begin), 0};
  }
  // Columns are tokens where `dense`, else rows of the unit.
  FSE_D int columns(const Unit& u) const { return T.dense ? a.n.tokens : u.count; }
  FSE_D bool has_column(const Unit& u, int c) const {
    if constexpr (kOwnedColumns) return u.tokens >> c & 1;
    return c < columns(u);
  }
  FSE_D static int row_of(const Unit& u, int token) {  // kOwnedColumns
    return u.begin + popcount(u.tokens & ((1u << token) - 1));
  }
  FSE_D int token_of(int row) const { return tokens ? tokens[row] : pairs[row] / a.n.choices; }

  // First activation of column c of a unit.
  FSE_D const u16* token_row(const Unit& u, int c) const {
    const u16* x = static_cast<const u16*>(a.x);
    if constexpr (kOp == kGate || kOp == kMlp1) return x + i64{u.begin + c} * S.hidden;
    if constexpr (kOp == kStage1) {
      const int token = T.dense ? c : token_of(u.begin + c);
      return x + i64{token} * S.hidden;
    }
    if constexpr (kOwnedColumns)
      return static_cast<const u16*>(a.h) + i64{row_of(u, c)} * S.intermediate;
    if constexpr (kOp == kStage2 || kOwned)
      return static_cast<const u16*>(a.h) + i64{u.begin + c} * S.intermediate;
    return static_cast<const u16*>(a.shared_h) +
           i64{u.begin + c} * (i64{a.n.slots} * S.intermediate);
  }

  // Weight row 0 of a unit's tile 0.
  FSE_D const char* weight_base(int expert) const {
    if constexpr (kOp == kGate)
      return static_cast<const char*>(a.router) + i64{a.n.row_begin} * kRowBytes;
    if constexpr (kPaired)
      return static_cast<const char*>(a.gate_up) + i64{expert} * (2LL * S.intermediate * kRowBytes);
    return static_cast<const char*>(a.down) + i64{expert} * (i64{S.hidden} * kRowBytes);
  }
  // Rows that exist (gate and up each, where paired); those of a padded slot are not read.
  FSE_D int row_limit(int expert) const {
    if constexpr (kOp == kGate) return a.n.row_end - a.n.row_begin;
    if constexpr (kOp == kMlp1)
      return smaller(S.intermediate, a.n.shared_width - (expert - S.experts) * S.intermediate);
    return kPaired ? S.intermediate : S.hidden;
  }
  // Where the scale of slice `slice` of the tile that begins at `row` lies; part 1: of its up rows.
  // kMlp2: slices run over the slots.
  FSE_D const float* scale(int expert, int row, int slice, [[maybe_unused]] int part) const {
    if constexpr (kPaired) {
      constexpr int kBlocks = ceil_div(S.intermediate, 128);
      return a.gate_up_scale + (i64{2 * expert + part} * kBlocks + row / 128) * kScaleColumns +
             slice;
    } else {
      constexpr int kBlocks = ceil_div(S.hidden, 128);
      if constexpr (kOp == kMlp2) {
        expert = S.experts + slice / kRowSlices;
        slice %= kRowSlices;
      }
      return a.down_scale + (i64{expert} * kBlocks + row / 128) * kScaleColumns + slice;
    }
  }

  // Result `value` (stage 1: gate, with `up`) of column m, output row `row`.
  FSE_D void store(const Unit& u, int m, int row, float value, float up) const {
    if constexpr (kOp == kGate) {
      a.gate_out[i64{u.begin + m} * a.n.logits_stride + row] = value;
      return;
    }
    u16* to = nullptr;
    if constexpr (kPaired) value = silu(value) * up;
    if constexpr (kOp == kStage1) to = static_cast<u16*>(a.h) + i64{u.begin + m} * S.intermediate;
    if constexpr (kOp == kMlp1)
      to = static_cast<u16*>(a.shared_h) +
           (i64{u.begin + m} * a.n.slots + (u.expert - S.experts)) * S.intermediate;
    if constexpr (kOp == kStage2) {
      const int pair = pairs[u.begin + m];
      value *= weights[staged ? u.begin + m : pair];
      to = static_cast<u16*>(a.y) + i64{pair} * S.hidden;
    }
    if constexpr (kOp == kMlp2) {
      value *= a.r.gated ? a.shared_weight[u.begin + m] : a.r.shared_constant;
      to = static_cast<u16*>(a.shared_out) + i64{u.begin + m} * S.hidden;
    }
    to[row] = to_activation<S.format>(value);
  }
};

}  // namespace fse::gpu
