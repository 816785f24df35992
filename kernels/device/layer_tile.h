#pragma once
// The tile of layer.h: a whole layer in one launch is several streaming kernels, so its tile is
// made of theirs.
#include "kernels/device/tiles.h"

namespace fse::gpu {

// A whole layer with shared=slot or none, in one cooperative launch

struct LayerTile {
  int dependent;  // 1: launched while the predecessor ends, which nothing else may do; else
                  // cooperatively
  int owned;   // stage 2 adds up its output rows itself: 1 in registers, for up to 8 tokens, 2 in
               // LDS; 0: y and combine
  int spread;  // 1: tokens are routed by different blocks, for one more grid barrier; 0: by each, a
               // wave for each token; 2: by each, all waves for one token after the other
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
  return {0, t.owned == 1, t.robin, t.warps, t.split, t.ring, 16, t.width};
}
constexpr FSE_HD int stage2_op(LayerTile t) {
  return t.owned ? kOwnedStage2 : kStage2;
}
// Waves that count pairs: one for each 256 of them, up to 4.
constexpr FSE_HD int dispatch_waves(LayerTile t) {
  return t.spread == 1 ? 4 : 1;
}
constexpr FSE_HD const char* why_not(LayerTile t) {
  if (t.dependent < 0 || t.dependent > 1) return "dependent is 0 or 1";
  if (t.owned < 0 || t.owned > 2) return "owned is 0, 1 or 2";
  if (t.spread < 0 || t.spread > 2) return "spread is 0, 1 or 2";
  if (t.owned == 1 && t.width != 8) return "owned=1: its 8 tokens are a unit's columns, width is 8";
  if (t.owned == 1 && t.spread == 1)
    return "owned=1: every block routes the tokens itself, spread is 0 or 2";
  if (t.owned == 2 && t.dense) return "owned=2: units of gathered tokens, dense is 0";
  const char* gate = why_not(gate_tile(t));
  const char* stage1 = why_not(stage1_tile(t));
  return gate[0] ? gate : stage1[0] ? stage1 : why_not(stage2_tile(t));
}

inline constexpr int kOwnedTokens = 8;

// Behind the words of a token, what was chosen for each.
constexpr FSE_HD int chosen_bytes(Sizes n) {
  return n.tokens * static_cast<int>(sizeof(BlockChosen));
}
constexpr FSE_HD int route_lds(LayerTile t, Shape s, Sizes n, Routing r) {
  if (t.spread != 2) return topk_lds({0, t.warps}, s, r);
  return block_topk_lds(s, t.warps) + (t.owned == 1 ? 0 : chosen_bytes(n));
}
// A sum of each warp for each of 8 tokens and row, where waves load the router straight into
// registers.
constexpr FSE_HD int few_gate_lds(LayerTile t) {
  return 4 * t.warps * 8 * (t.rows + 1);
}

// Byte offsets in LDS where `owned`. Of what outlives an op: a token and a weight for each row of
// the sorted pairs, and the units. Of what makes them: a bit per token and expert, the first row of
// each expert, a sum per wave, and (spread other than 1) the choices in token order. owned=1 routes
// while the ring is being filled: where stage 1 has its sums later on, behind those of the gate.
struct OwnedLayout {
  int route, tokens, weights, units, bits, first_rows, scratch, choices, total;
};
constexpr FSE_HD int token_words(Sizes n) {
  return ceil_div(n.tokens, 32);
}
constexpr FSE_HD OwnedLayout owned_layout(LayerTile t, Shape s, Sizes n, Routing r) {
  const int pairs = n.tokens * n.choices;
  const StreamLayout stage1 = stream_layout(kStage1, stage1_tile(t), n);
  const StreamLayout stage2 = stream_layout(kOwnedStage2, stage2_tile(t), n);
  OwnedLayout l{};
  l.route = t.owned == 1 ? stage1.partials + few_gate_lds(t) : 0;
  // The first tokens are routed when the last are not, so their choices lie behind the routing.
  l.tokens = larger(larger(stage1.units, stage2.units), l.route + route_lds(t, s, n, r));
  l.weights = l.tokens + 4 * pairs;
  l.units = ceil_div(l.weights + 4 * pairs, 8) * 8;
  l.bits = l.units + 8 * max_units(kStage2, stage2_tile(t), n);
  l.first_rows = l.bits + 4 * n.expert_count * token_words(n);
  l.scratch = l.first_rows + 4 * n.expert_count;
  l.choices = l.scratch + 4 * 40;
  const int kept = t.spread == 1 ? 0 : t.owned == 1 && t.spread == 2 ? chosen_bytes(n) : 8 * pairs;
  l.total = ceil_div(l.choices + kept, 16) * 16;
  return l;
}

constexpr FSE_HD int layer_lds(LayerTile t, Shape s, Sizes n, Routing r) {
  const int gate = stream_layout(kGate, gate_tile(t), n).total;
  const int stage1 = stream_layout(kStage1, stage1_tile(t), n).total;
  const int stage2 = stream_layout(stage2_op(t), stage2_tile(t), n).total;
  const int route = route_lds(t, s, n, r);
  const int sort =
      t.owned ? owned_layout(t, s, n, r).total : dispatch_lds({0, 0, dispatch_waves(t)}, n);
  return larger(larger(gate, larger(stage1, stage2)), larger(route, sort));
}
constexpr FSE_HD const char* why_not_here(LayerTile t, Shape s, Sizes n, Routing r, Limits d) {
  if (t.dependent && !d.dependent_launch) return "dependent: the device has no such launch";
  if (s.experts > kMaxExperts) return "more than 1024 experts";
  if (n.top_k > kMaxTopK) return "top_k above 32";
  if (!t.spread && n.tokens > t.warps) return "spread=0: more tokens than warps";
  if (t.spread == 2 && n.tokens > kBlockRoutedTokens) return "spread=2: more than 8 tokens";
  if (t.spread == 2 && r.groups > 1) return "spread=2: one wave chooses groups";
  if (t.spread == 2 && n.top_k > ceil_div(s.experts, block_share(s, t.warps)))
    return "spread=2: top_k above the number of warps that have experts";
  if (t.owned == 1 && n.tokens > kOwnedTokens) return "owned=1: more than 8 tokens";
  if (t.owned && ceil_div(s.hidden, 16) > d.compute_units)
    return "owned: more than 16 output rows per compute unit";
  if (layer_lds(t, s, n, r) > d.lds_bytes) return "more LDS than the device has";
  const char* gate = why_not_here(kGate, gate_tile(t), s, n, d);
  const char* stage1 = why_not_here(kStage1, stage1_tile(t), s, n, d);
  return gate[0] ? gate : stage1[0] ? stage1 : why_not_here(stage2_op(t), stage2_tile(t), s, n, d);
}
// One block per compute unit: all of them are resident, which the grid barriers rely on.
constexpr FSE_HD Launch launch_of(LayerTile t, Shape s, Sizes n, Routing r, Limits d) {
  return {d.compute_units, t.warps * d.wave, layer_lds(t, s, n, r)};
}

}  // namespace fse::gpu
