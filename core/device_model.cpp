#include "core/device_model.h"

#include <algorithm>
#include <array>

namespace fse {
namespace {

using D = DeviceModel;

constexpr std::array<DeviceField, 34> kFields{{
    {"compute_units", "1", &D::compute_units, 1, 4096, true, 0},
    {"clock_ghz", "GHz", &D::clock_ghz, 0.1, 10, true, 0},
    {"memory_gb", "GB", &D::memory_gb, 0.5, 4096, true, 0},
    {"peak_gbs", "GB/s", &D::peak_gbs, 1, 100000, true, 0},
    {"read_gbs", "GB/s", &D::read_gbs, 1, 100000, true, 0.05},
    {"copy_gbs", "GB/s", &D::copy_gbs, 0, 100000, false, 0},
    {"llc_mb", "MB", &D::llc_mb, 0, 10000, true, 0},
    {"llc_gbs", "GB/s", &D::llc_gbs, 0, 200000, false, 0},
    {"dies", "1", &D::dies, 1, 64, false, 0},
    {"workgroup_gbs", "GB/s", &D::workgroup_gbs, 0.1, 10000, true, 0.15},
    {"bf16_tflops", "TFLOP/s", &D::bf16_tflops, 0.001, 100000, true, 0},
    {"fp8_tflops", "TFLOP/s", &D::fp8_tflops, 0, 100000, false, 0},
    {"gemm_share", "1", &D::gemm_share, 0.01, 1, true, 0.2},
    {"grouped_share", "1", &D::grouped_share, 0.01, 1, true, 0.1},
    {"launch_us", "us", &D::launch_us, 0, 1000, true, 0.15},
    {"stream_us", "us", &D::stream_us, 0, 1000, true, 0},
    {"grouped_us", "us", &D::grouped_us, 0, 10000, true, 0.1},
    {"tile_us", "us", &D::tile_us, 0, 1000, false, 0.2},
    {"event_us", "us", &D::event_us, 0, 1000, true, 0.5},
    {"ramp_us", "us", &D::ramp_us, 0, 1000, false, 0.3},
    {"touch_us", "us", &D::touch_us, 0, 1000, false, 0},
    {"experts_us", "us", &D::experts_us, 0, 1000, false, 0.3},
    {"stage_us", "us", &D::stage_us, 0, 1000, false, 0.3},
    {"stage_fp8_us", "us", &D::stage_fp8_us, 0, 1000, false, 0.3},
    {"fp8_tile_us", "us", &D::fp8_tile_us, 0, 1000, false, 0.2},
    {"dependent_us", "us", &D::dependent_us, 0, 1000, false, 0.2},
    {"plain_us", "us", &D::plain_us, 0, 1000, false, 0.3},
    {"fused_us", "us", &D::fused_us, 0, 1000, false, 0.3},
    {"fused_fp8_us", "us", &D::fused_fp8_us, 0, 1000, false, 0.3},
    {"barrier_us", "us", &D::barrier_us, 0, 1000, false, 0.2},
    {"widen_gops", "10^9/s", &D::widen_gops, 0, 1e7, false, 0.2},
    {"interference", "1", &D::interference, 0, 10, true, 0.5},
    {"link_gbs", "GB/s", &D::link_gbs, 0, 10000, false, 0.2},
    {"link_us", "us", &D::link_us, 0, 1000, false, 0.2},
}};

double ring_us(const DeviceModel& d, int tp, double bytes) {
  // All links to all peers work at once; each rank sends and receives 2 (tp-1)/tp of the bytes.
  const double rate = d.link_gbs * (tp - 1) * 1e3;
  return d.link_us + (rate > 0 ? 2.0 * (tp - 1) / tp * bytes / rate : 0);
}

}  // namespace

std::span<const DeviceField> device_fields() {
  return kFields;
}

const DeviceField* find_device_field(std::string_view name) {
  for (const DeviceField& field : device_fields())
    if (field.name == name) return &field;
  return nullptr;
}

double spread_of(const DeviceModel& d, const DeviceField& field) {
  constexpr double kSameKind = 0.03;  // assumed: clocks and memories of one product
  const auto measured = d.spreads.find(field.name);
  if (measured == d.spreads.end() || field.spread == 0) return field.spread;
  return std::max(measured->second, kSameKind);
}

double all_reduce_us(const DeviceModel& d, int tp, double bytes) {
  if (tp <= 1) return 0;
  const AllReduce *below = nullptr, *above = nullptr;
  for (const AllReduce& point : d.all_reduce) {
    if (point.tp != tp) continue;
    if (point.bytes <= bytes && (below == nullptr || point.bytes > below->bytes)) below = &point;
    if (point.bytes >= bytes && (above == nullptr || point.bytes < above->bytes)) above = &point;
  }
  if (below == nullptr && above == nullptr) return ring_us(d, tp, bytes);
  if (below == nullptr) return above->us;
  const double beyond = ring_us(d, tp, bytes) - ring_us(d, tp, below->bytes);
  if (above == nullptr) return below->us + beyond;
  if (above == below) return below->us;
  const double share = (bytes - below->bytes) / (above->bytes - below->bytes);
  return below->us + share * (above->us - below->us);
}

}  // namespace fse
