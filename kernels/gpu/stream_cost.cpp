#include "kernels/gpu/stream_cost.h"

#include <algorithm>
#include <cmath>

namespace fse {
namespace {

using namespace gpu;

constexpr double kUnitGbs = 23;       // a compute unit's share of the memory's rate
constexpr double kLatencyUs = 0.7;    // from a load to its bytes
constexpr double kTileUs = 0.05;      // of a tile: its first bytes, its sums
constexpr double kShareUs = 0.01;     // of each warp that shares a tile, to add its part
constexpr double kMultiplyUs = 0.06;  // 16 rows x 128 bytes x 8 tokens, by each of 4 warps
constexpr double kPredecessorUs = 1;  // what a dependent launch hides
constexpr double kPlainSlowdown = 8;  // a wave for each output reads its weights again and again

// Units of the routing that is most likely, all experts being alike.
double expected_units(int op, int width, Sizes n) {
  const double chunks = ceil_div(n.tokens, width);
  if (op == kGate || op == kMlp2) return chunks;
  if (op == kMlp1) return chunks * n.slots;
  const double experts = n.expert_count, pairs = static_cast<double>(n.tokens) * n.choices;
  const double active = experts * (1 - std::pow(1 - n.choices / experts, n.tokens));
  return n.tokens > width ? std::min(pairs, active + pairs / width) : active;
}

// Rows that a team works through, one tile after the other.
double tiles_in_turn(double tiles, StreamTile t, Launch launch) {
  const double teams = t.warps / t.split;
  if (t.robin <= 1) return std::max(1.0, std::ceil(tiles / (launch.blocks * teams)));
  return std::max(1.0, std::ceil(tiles / t.robin / launch.blocks) * t.robin / teams);
}

}  // namespace

double predicted_stream_us(int op, StreamTile t, Shape s, Sizes n, Limits d) {
  const double tiles = expected_units(op, t.width, n) * tiles_per_unit(op, t, s, n);
  const double bytes = static_cast<double>(row_bytes(op, s)) * (op == kMlp2 ? n.slots : 1);
  const double turns = tiles_in_turn(tiles, t, launch_of(op, t, s, n, d));
  const double slices = turns * std::ceil(bytes / kSliceBytes / t.split);  // of one warp
  const double memory = tiles * t.rows * bytes / (kUnitGbs * d.compute_units * 1e3);
  const double arrival = kLatencyUs * (1 + slices / (t.ring - 1));
  const double multiply = slices * kMultiplyUs * t.width / 8 * t.warps / 4 * t.rows / 16;
  return std::max(memory, arrival) + multiply + turns * (kTileUs + kShareUs * t.split) +
         (t.dependent ? 0 : kPredecessorUs);
}

double predicted_plain_us(int op, PlainTile t, Shape s, Sizes n, Limits d) {
  const StreamTile like{.dependent = t.dependent,
                        .dense = 0,
                        .robin = 1,
                        .warps = t.warps,
                        .split = 1,
                        .ring = 2,
                        .rows = 16,
                        .width = 8};
  return kPlainSlowdown * predicted_stream_us(op, like, s, n, d);
}

}  // namespace fse
