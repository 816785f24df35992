#pragma once
#include <span>

#include "core/device_model.h"
#include "core/layer_spec.h"
#include "core/routing_model.h"

namespace fse {

// What one kernel takes on a device, launch and gap included: the first kernel's fixed part, the
// ramp of its tiles, and the longer of its bytes and its matrix work.

// Bytes that all workgroups read, of which one reads `each`, in `waves` rounds: the longer of what
// the memory delivers and what a workgroup draws.
double memory_us(const DeviceModel&, double bytes, double each, double waves);

// Loads and matrix work at the same time: the longer of the two, a little more where they are
// alike.
double overlapped_us(double loads, double work);

// tokens x n x k, weights of bytes_each, at `tflops` peak.
double gemm_us(const DeviceModel&, double tokens, double n, double k, double bytes_each,
               double tflops);

// One read and one write of a 16-bit [tokens, width].
double elementwise_us(const DeviceModel&, double tokens, double width);

// How fp8 weights are scaled decides which kernels a library has for them.
enum class Scales { block128, channel };
template <>
inline constexpr NameTable<Scales, 2> kNames<Scales>{
    {{Scales::block128, "block128"}, {Scales::channel, "channel"}}};

// What one workgroup of the experts' kernel works on: rows of one expert, columns of its width.
// down_columns: a second kernel multiplies by the down matrix, that many columns of the hidden
// size at a time; 0: one kernel does both.
struct GroupedTile {
  int block_m = 0, columns = 0, down_columns = 0;
};
// The tiles of AITER's kernels, by the names in its tables.
std::span<const GroupedTile> library_tiles(Scales);

// All stages of the experts' grouped kernel with this tile. Slots are chosen by every token.
double grouped_us(const LayerSpec&, const Shard&, const DeviceModel&, const RoutingPrior&,
                  int slots, int tokens, GroupedTile);
// With the fastest of these tiles that divides the width, or of all where none does: what tuning
// finds.
double grouped_us(const LayerSpec&, const Shard&, const DeviceModel&, const RoutingPrior&,
                  int slots, int tokens, std::span<const GroupedTile>);

// The matrix peak of a layer's weights, TFLOP/s.
double peak_tflops(const LayerSpec&, const DeviceModel&);

}  // namespace fse
