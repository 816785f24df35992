#include "core/kernel_cost.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "core/plan.h"

namespace fse {
namespace {

constexpr double kGemmTile = 64;    // rows and columns of one workgroup's tile
constexpr double kPairBytes = 9;    // per row and hidden unit: read bf16, add f32 into the output
constexpr int kDownDepth = 128;     // of a second kernel's step along the width
constexpr double kMatrixRows = 16;  // of the smallest matrix instruction: fewer rows cost as many

// Requests queue before the memory is full, and loads and matrix work overlap not quite: both
// corners are round. The powers are assumed.
constexpr double kQueueing = 4, kOverlap = 8;

double soft_max(double a, double b, double power) {
  const double high = std::max(a, b), low = std::min(a, b);
  return high > 0 ? high * std::pow(1 + std::pow(low / high, power), 1 / power) : 0;
}

constexpr std::array kBlockTiles{GroupedTile{1, 128},  GroupedTile{1, 256},  GroupedTile{16, 128},
                                 GroupedTile{32, 128}, GroupedTile{32, 256}, GroupedTile{64, 128},
                                 GroupedTile{64, 256}};
constexpr std::array kChannelTiles{GroupedTile{32, 192}, GroupedTile{32, 256}, GroupedTile{32, 384},
                                   GroupedTile{128, 64, 128}, GroupedTile{128, 128, 128}};

// The dies' caches do not know of each other: an expert whose blocks of rows lie on several is read
// from the last-level cache by each, at the same time as from memory.
double cache_us(const DeviceModel& d, const ExpectedLoad& load, double expert) {
  return d.dies > 1 && d.llc_gbs > 0 ? load.spread * expert / (d.llc_gbs * 1e3) : 0;
}

// One kernel: `share` of every expert's weights, by workgroups of which `columns` do a block of
// rows.
double kernel_us(const LayerSpec& layer, const Shard& shard, const DeviceModel& d,
                 const ExpectedLoad& load, int block_m, double columns, double share) {
  const double expert = share * static_cast<double>(expert_bytes(layer, shard));
  const double waves = std::max(1.0, load.blocks * columns / d.compute_units);
  const double bytes = load.distinct * expert + share * load.pairs * layer.hidden * kPairBytes;
  const double rows = load.blocks * std::max<double>(block_m, kMatrixRows);
  const double flops = share * 6 * rows * shard.intermediate * layer.hidden;
  const double reads =
      std::max(memory_us(d, bytes, expert / columns, waves), cache_us(d, load, expert));
  return d.grouped_us + waves * d.tile_us +
         overlapped_us(reads, flops / (peak_tflops(layer, d) * d.grouped_share * 1e6));
}

double tile_us(const LayerSpec& layer, const Shard& shard, const DeviceModel& d,
               const ExpectedLoad& load, GroupedTile tile) {
  const double columns = std::ceil(double{1} * shard.intermediate / tile.columns);
  const auto us = [&](double by, double share) {
    return kernel_us(layer, shard, d, load, tile.block_m, by, share);
  };
  if (tile.down_columns == 0) return us(columns, 1);
  return us(columns, 2.0 / 3) +
         us(std::ceil(double{1} * layer.hidden / tile.down_columns), 1.0 / 3);
}

}  // namespace

double memory_us(const DeviceModel& d, double bytes, double each, double waves) {
  return soft_max(bytes / (d.read_gbs * 1e3), waves * each / (d.workgroup_gbs * 1e3), kQueueing);
}

double overlapped_us(double loads, double work) {
  return soft_max(loads, work, kOverlap);
}

double peak_tflops(const LayerSpec& layer, const DeviceModel& d) {
  return layer.dtype == DType::fp8_block128 && d.fp8_tflops > 0 ? d.fp8_tflops : d.bf16_tflops;
}

double gemm_us(const DeviceModel& d, double tokens, double n, double k, double bytes_each,
               double tflops) {
  const double each = std::min(n, kGemmTile) * k * bytes_each;  // tiles side by side share rows
  const double bytes = n * k * bytes_each + 2 * tokens * (n + k);
  return d.launch_us +
         std::max(memory_us(d, bytes, each, 1), 2 * tokens * n * k / (tflops * d.gemm_share * 1e6));
}

double elementwise_us(const DeviceModel& d, double tokens, double width) {
  return d.launch_us + tokens * width * 4 / (d.read_gbs * 1e3);
}

std::span<const GroupedTile> library_tiles(Scales scales) {
  return scales == Scales::channel ? std::span<const GroupedTile>(kChannelTiles) : kBlockTiles;
}

double grouped_us(const LayerSpec& layer, const Shard& shard, const DeviceModel& d,
                  const RoutingPrior& prior, int slots, int tokens, GroupedTile tile) {
  return grouped_us(layer, shard, d, prior, slots, tokens, std::span(&tile, 1));
}

double grouped_us(const LayerSpec& layer, const Shard& shard, const DeviceModel& d,
                  const RoutingPrior& prior, int slots, int tokens,
                  std::span<const GroupedTile> tiles) {
  check(!tiles.empty(), "a kernel has a tile");
  const auto divides = [&](GroupedTile t) {
    const bool deep = t.down_columns == 0 || shard.intermediate % kDownDepth == 0;
    return deep && shard.intermediate % t.columns == 0;
  };
  const bool any = std::any_of(tiles.begin(), tiles.end(), divides);
  const std::vector<double> chosen = inclusion(prior, layer.routing.experts, layer.routing.top_k);
  double best = INFINITY;
  int block_m = 0;
  ExpectedLoad load;
  for (const GroupedTile tile : tiles) {
    if (any && !divides(tile)) continue;
    if (tile.block_m != block_m)
      load = expected_load(prior, chosen, slots, tokens, block_m = tile.block_m,
                           static_cast<int>(std::max(1.0, d.dies)));
    best = std::min(best, tile_us(layer, shard, d, load, tile));
  }
  return best;
}

}  // namespace fse
