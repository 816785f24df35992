#pragma once
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fse {

// Where a number comes from; printed beside everything that rests on it.
struct Provenance {
  std::string source, date, kind;  // kind: measured | published | datasheet | inferred
};

struct AllReduce {
  int tp = 0;
  double bytes = 0, us = 0;
};

// A measured read: how many workgroups, over how many bytes, again and again where `cached`.
struct BandwidthPoint {
  double workgroups = 0, footprint_mb = 0, gbs = 0, low = 0, high = 0;
  bool cached = false;
};

// What the simulator knows of a device. Rates are of the whole package: GB/s = 10^9 bytes.
struct DeviceModel {
  std::string name, arch;
  double compute_units = 0;
  double clock_ghz = 0;
  double memory_gb = 0;
  double peak_gbs = 0;       // what the memory can do at most: the bound no prediction undercuts
  double read_gbs = 0;       // what streaming kernels reach
  double copy_gbs = 0;       // what a copy reaches, bytes read and written
  double llc_mb = 0;         // the last-level cache
  double llc_gbs = 0;        // from it
  double dies = 1;           // of compute units, each with a cache of its own before that
  double workgroup_gbs = 0;  // what one workgroup draws
  double bf16_tflops = 0;    // dense peaks
  double fp8_tflops = 0;     // 0: none
  double gemm_share = 0;     // of the peak that a large dense GEMM reaches
  double grouped_share = 0;  // of the peak that the grouped kernel reaches
  double launch_us = 0;      // one dependent small kernel in a graph: its gap and its floor
  double stream_us = 0;      // the same, launched from a stream
  double grouped_us = 0;     // the grouped kernel's fixed part
  double tile_us = 0;        // what each wave of its tiles adds: filling and emptying a tile
  double event_us = 0;       // fork or join of a second stream
  // Of fselab's own kernels; where a file leaves one out it is 0, and what is said here holds.
  double ramp_us = 0;       // what a small product takes beyond its bytes and its launch
  double touch_us = 0;      // the same of a step without a weight matrix; 0: ramp_us
  double experts_us = 0;    // what every 128 experts more add to a step over all of them
  double stage_us = 0;      // the same of a grouped stage; 0: ramp_us
  double stage_fp8_us = 0;  // with fp8 weights; 0: stage_us
  double fp8_tile_us = 0;   // a tile of 16 rows of fp8 weights, beyond widening it, on its unit
  double dependent_us = 0;  // a launch that begins while its predecessor ends; 0: launch_us
  double plain_us = 0;      // what a launch that cannot takes longer, of such a chain
  double fused_us = 0;      // a layer of one token in one launch, beyond both; 0: of its parts
  double fused_fp8_us = 0;  // with fp8 weights; 0: fused_us
  double barrier_us = 0;    // all blocks of a kernel wait for each other; 0: launch_us
  double widen_gops = 0;    // fp8 weights widened to 16 bits, 10^9 per second; 0: without limit
  double interference = 0;  // by which overlapped branches slow each other
  double link_gbs = 0;      // to one peer, per direction
  double link_us = 0;       // of a collective over TP ranks without bytes
  std::vector<AllReduce> all_reduce;  // measured points, by tp and bytes
  std::vector<std::pair<std::string, Provenance>> provenance;
  std::map<std::string, double, std::less<>> spreads;  // of fields that were measured, by name
};

// One number of a device file: its key, its unit, and the range that makes sense.
struct DeviceField {
  std::string_view name, unit;
  double DeviceModel::*value;
  double lowest, highest;
  bool required;
  double spread;  // half width of its 90 % interval, relative: what a prediction's interval uses
};
std::span<const DeviceField> device_fields();
const DeviceField* find_device_field(std::string_view name);
// Its half width on this device: what was measured, but at least what two devices of a kind differ
// by, else the field's own.
double spread_of(const DeviceModel&, const DeviceField&);

// Time of one all-reduce: the nearest measured points of this degree, scaled in bytes between them;
// without any, latency and the bytes over the links of a ring.
double all_reduce_us(const DeviceModel&, int tp, double bytes);

}  // namespace fse
