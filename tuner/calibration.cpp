#include "tuner/calibration.h"

#include <algorithm>

#include "core/error.h"
#include "tuner/calibration_values.h"

namespace fse {
namespace {

// Dense bf16 and fp8 operations per clock and compute unit, from the vendors' peaks.
struct MatrixUnit {
  std::string_view arch;
  double bf16, fp8;
};
constexpr MatrixUnit kMatrixUnits[] = {{"sm_80", 2048, 0},      {"sm_90", 4096, 8192},
                                       {"sm_100", 8192, 16384}, {"gfx90a", 1024, 0},
                                       {"gfx942", 2048, 4096},  {"gfx950", 4096, 8192}};

class MemoryCalibration {
 public:
  MemoryCalibration(Microbench& bench, const DeviceInfo& info, const CalibrationSpec& spec)
      : bench_(bench), info_(info), spec_(spec), limits_(bench.limits()) {}

  Calibration run(double peak_gflops) {
    add_told();
    add_reads();
    add_peaks(peak_gflops);
    add_chains();
    add_streams();
    if (const auto first = bench_.widen_gops())
      add("widen_gops", repeated(spec_.repeats, [&] { return *bench_.widen_gops(); }),
          "fp8 codes widened to bf16 out of registers, all compute units");
    return std::move(result_);
  }

 private:
  bool on_cpu() const { return info_.kind == "cpu"; }
  void add(const std::string& field, const Summary& value, const std::string& how,
           const std::string& kind = "measured") {
    result_.values.push_back({field, value, how, kind});
  }

  void add_told() {
    add("compute_units", told(info_.compute_units), "as the device says", "datasheet");
    add("clock_ghz", told(std::max(0.1, limits_.clock_ghz)), "as the device says, at most",
        "datasheet");
    add("memory_gb", told(static_cast<double>(info_.memory_bytes) / 1e9), "as the device says",
        "datasheet");
    add("llc_mb", told(static_cast<double>(info_.llc_bytes) / 1e6), "as the device says",
        "datasheet");
  }

  Summary read_gbs(int workgroups, int64_t footprint, int rounds) {
    // GB/s are bytes per ns.
    const double bytes = static_cast<double>(footprint) * rounds;
    const Summary gbs = repeated(spec_.repeats, [&] {
      return bytes / bench_.read_us(workgroups, footprint, rounds) * 1e-3;
    });
    result_.reads.push_back({.workgroups = double{1} * workgroups,
                             .footprint_mb = static_cast<double>(footprint) / 1e6,
                             .gbs = gbs.median,
                             .low = gbs.lo,
                             .high = gbs.hi,
                             .cached = rounds > 1});
    return gbs;
  }

  // From memory with more and more workgroups, then from footprints around the last-level cache.
  void add_reads() {
    const int units = info_.compute_units, most = on_cpu() ? units : 4 * units;
    const int64_t each = int64_t{on_cpu() ? 64 : 8} << 20, largest = int64_t{1} << 30;
    Summary best, one;
    for (int n = 1;; n = std::min(2 * n, most)) {
      const Summary gbs = read_gbs(n, std::min(n * each, largest), 1);
      if (n <= std::max(1, units / 4)) one = scaled(gbs, 1.0 / n);
      if (gbs.median > best.median) best = gbs;
      if (n == most) break;
    }
    add("read_gbs", best, "streaming read, the best number of workgroups");
    const bool known = limits_.peak_gbs > 0;
    add("peak_gbs", told(std::max(known ? limits_.peak_gbs : 0, best.hi)),
        known ? "memory clock and bus width" : "not told: the upper end of the best read",
        known ? "datasheet" : "inferred");
    add("workgroup_gbs", one,
        "streaming read with a quarter as many workgroups as compute units, each");
    add("copy_gbs", copy_gbs(), "copy, bytes read and written");
    const double llc = static_cast<double>(info_.llc_bytes);
    for (const double share : {0.25, 0.5, 1.0, 2.0, 4.0}) {
      const auto footprint = static_cast<int64_t>(std::min(share * llc, 1e9)) >> 20 << 20;
      if (footprint == 0) continue;
      const Summary gbs = read_gbs(most, footprint, 8);
      if (share == 0.25) add("llc_gbs", gbs, "reads of a quarter of the last-level cache, again");
    }
  }

  Summary copy_gbs() {
    const int64_t bytes = on_cpu() ? int64_t{1} << 26 : int64_t{1} << 29;
    return repeated(spec_.repeats,
                    [&] { return 2e-3 * static_cast<double>(bytes) / bench_.copy_us(bytes); });
  }

  void add_peaks(double gflops) {
    result_.register_tflops = gflops * 1e-3;
    for (const MatrixUnit& unit : kMatrixUnits) {
      if (unit.arch != info_.arch) continue;
      const double clocks = info_.compute_units * limits_.clock_ghz * 1e-3;
      const std::string how = "operations per clock and unit of " + info_.arch + ", highest clock";
      add("bf16_tflops", told(unit.bf16 * clocks), how, "inferred");
      if (unit.fp8 > 0) add("fp8_tflops", told(unit.fp8 * clocks), how, "inferred");
      return;
    }
    add("bf16_tflops", told(gflops * 1e-3), "what the kernels multiply with, out of registers");
  }

  std::optional<Summary> slope(Chain chain) {
    const int few = chain == Chain::stream ? 100 : 50, many = few * (on_cpu() ? 10 : 20);
    if (!bench_.chain_us(chain, few)) return std::nullopt;
    return repeated(spec_.repeats, [&] {
      const double less = *bench_.chain_us(chain, few);
      return std::max(0.0, (*bench_.chain_us(chain, many) - less) / (many - few));
    });
  }

  void add_chains() {
    const Summary graph = slope(Chain::graph).value(), stream = slope(Chain::stream).value();
    const Summary touching = slope(Chain::touching).value();
    const Summary ramp = difference(touching, graph);
    add("launch_us", graph, "chain of empty kernels in a graph, slope");
    add("stream_us", stream, "chain of empty kernels on a stream, slope");
    add("touch_us", ramp, "the same with 4 KB loaded and stored per compute unit, less the empty");
    if (const auto dependent = slope(Chain::dependent))
      add("dependent_us", difference(*dependent, ramp),
          "chain that loads and stores, launched while the predecessor ends, less that");
    if (const auto barrier = slope(Chain::barrier))
      add("barrier_us", *barrier, "all blocks of a kernel wait for each other, slope");
    if (const auto forked = slope(Chain::forked)) {
      add("event_us", scaled(difference(*forked, touching), 0.5),
          "fork and join of a second stream with one kernel each, half of what they add");
    } else {
      add("event_us", graph, "as launch_us: streams of this device meet at its barriers",
          "inferred");
    }
  }

  // By how much two streams that read at once are slower than the memory has to be.
  void add_streams() {
    const int64_t main = int64_t{on_cpu() ? 64 : 512} << 20, side = main / 4;
    const auto read = [&](int64_t a, int64_t b) { return bench_.shared_read_us(a, b); };
    if (!read(main, side)) {
      add("interference", told(0), "streams of this device have no threads to share out",
          "inferred");
      return;
    }
    const Summary slower = repeated(spec_.repeats, [&] {
      const double alone = *read(main, 0), other = *read(side, 0), both = *read(main, side);
      const double least = on_cpu() ? std::max(alone, other) : alone * (1 + 0.25);
      return std::clamp((both - least) / other, 0.0, 10.0);
    });
    add("interference", slower,
        "two streams that read 512 and 128 MB at once, beyond all the bytes, of the second");
  }

  Microbench& bench_;
  const DeviceInfo& info_;
  const CalibrationSpec& spec_;
  const Microbench::Limits limits_;
  Calibration result_;
};

}  // namespace

const CalibratedValue* Calibration::find(const std::string& field) const {
  for (const CalibratedValue& value : values)
    if (value.field == field) return &value;
  return nullptr;
}

void Calibration::set(CalibratedValue value) {
  std::erase_if(values, [&](const CalibratedValue& v) { return v.field == value.field; });
  values.push_back(std::move(value));
}

DeviceModel model_of(const Calibration& c, const DeviceInfo& info) {
  DeviceModel d;
  d.name = info.product;
  d.arch = info.kind == "cpu" ? "cpu" : info.arch;
  for (const DeviceField& field : device_fields())
    if (const CalibratedValue* value = c.find(std::string(field.name)))
      d.*field.value = std::clamp(value->value.median, field.lowest, field.highest);
  return d;
}

Calibration calibrate_memory(Microbench& bench, const DeviceInfo& info, double peak_gflops,
                             const CalibrationSpec& spec) {
  return MemoryCalibration(bench, info, spec).run(peak_gflops);
}

}  // namespace fse
