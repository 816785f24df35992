#pragma once
// The tile of layer.h: a whole layer in one launch is several streaming kernels, so its tile is
// made of theirs.
#include "kernels/device/tiles.h"

namespace fse::gpu {

// A whole layer with shared=slot or none, in one cooperative launch

struct LayerTile {
  int owned;   // 1: stage 2 adds up its output rows itself, for up to 8 tokens; 0: y and combine
  int spread;  // 1: tokens are routed by different blocks, for one more grid barrier; 0: by each
  int dense;   // stage 1, as in StreamTile
  int robin;   // both stages
  int warps;
  int split;  // stage 2; the gate and stage 1 split k over all warps
  int ring;
  int rows;  // of a gate tile
  int width;
};

constexpr FSE_HD StreamTile gate_tile(LayerTile t) {
  return {0, 0, 1, t.warps, t.warps, t.ring, t.rows, t.width};
}
constexpr FSE_HD StreamTile stage1_tile(LayerTile t) {
  return {0, t.dense, t.robin, t.warps, t.warps, t.ring, 16, t.width};
}
constexpr FSE_HD StreamTile stage2_tile(LayerTile t) {
  return {0, 0, t.robin, t.warps, t.split, t.ring, 16, t.width};
}
// Waves that count pairs: one for each 256 of them, up to 4.
constexpr FSE_HD int dispatch_waves(LayerTile t) {
  return t.spread ? 4 : 1;
}
constexpr FSE_HD const char* why_not(LayerTile t) {
  if (t.owned < 0 || t.owned > 1) return "owned is 0 or 1";
  if (t.spread < 0 || t.spread > 1) return "spread is 0 or 1";
  if (t.owned && t.width != 8) return "owned: its 8 tokens are a unit's columns, width is 8";
  if (t.owned && t.spread) return "owned: every block routes the tokens itself, spread is 0";
  const char* gate = why_not(gate_tile(t));
  const char* stage1 = why_not(stage1_tile(t));
  return gate[0] ? gate : stage1[0] ? stage1 : why_not(stage2_tile(t));
}

inline constexpr int kOwnedTokens = 8;

// Byte offsets in LDS of what outlives an op where `owned`: the sorted pairs and their weights, and
// the units.
struct OwnedLayout {
  int pairs, weights, ids, units, total;
};
constexpr FSE_HD OwnedLayout owned_layout(LayerTile t, Sizes n) {
  const int pairs = n.tokens * n.choices;
  const StreamLayout stage1 = stream_layout(kStage1, stage1_tile(t), n);
  const StreamLayout stage2 = stream_layout(kStage2, stage2_tile(t), n);
  OwnedLayout l{};
  l.pairs = larger(stage1.units, stage2.units);
  l.weights = l.pairs + 4 * pairs;
  l.ids = l.weights + 4 * pairs;
  l.units = l.ids + 4 * pairs;
  l.total = ceil_div(l.units + 8 * pairs + 8, 16) * 16;
  return l;
}

constexpr FSE_HD int layer_lds(LayerTile t, Shape s, Sizes n, Routing r) {
  const int gate = stream_layout(kGate, gate_tile(t), n).total;
  const int stage1 = stream_layout(kStage1, stage1_tile(t), n).total;
  const int stage2 = stream_layout(kStage2, stage2_tile(t), n).total;
  const int route = topk_lds({0, t.warps}, s, r);
  const int sort = t.owned ? owned_layout(t, n).total : dispatch_lds({0, dispatch_waves(t)}, n);
  return larger(larger(gate, larger(stage1, stage2)), larger(route, sort));
}
constexpr FSE_HD const char* why_not_here(LayerTile t, Shape s, Sizes n, Routing r, Limits d) {
  if (s.experts > kMaxExperts) return "more than 1024 experts";
  if (n.top_k > kMaxTopK) return "top_k above 32";
  if (!t.spread && n.tokens > t.warps) return "spread: more tokens than warps";
  if (t.owned && n.tokens > kOwnedTokens) return "owned: more than 8 tokens";
  if (t.owned && n.tokens * n.choices > t.warps * d.wave) return "owned: more pairs than threads";
  if (t.owned && ceil_div(s.hidden, 16) > d.compute_units)
    return "owned: more than 16 output rows per compute unit";
  if (layer_lds(t, s, n, r) > d.lds_bytes) return "more LDS than the device has";
  const char* gate = why_not_here(kGate, gate_tile(t), s, n, d);
  const char* stage1 = why_not_here(kStage1, stage1_tile(t), s, n, d);
  return gate[0] ? gate : stage1[0] ? stage1 : why_not_here(kStage2, stage2_tile(t), s, n, d);
}
// One block per compute unit: all of them are resident, which the grid barriers rely on.
constexpr FSE_HD Launch launch_of(LayerTile t, Shape s, Sizes n, Routing r, Limits d) {
  return {d.compute_units, t.warps * d.wave, layer_lds(t, s, n, r)};
}

}  // namespace fse::gpu
