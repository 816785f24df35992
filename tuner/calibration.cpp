#include "tuner/calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/error.h"

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

Summary told(double value) {
  return {.median = value, .lo = value, .hi = value, .n = 0};
}

Summary repeated(int repeats, const std::function<double()>& measure) {
  std::vector<double> samples;
  measure();  // the first one raises clocks and loads what is loaded lazily
  for (int i = 0; i < repeats; ++i) samples.push_back(measure());
  return summarize(samples);
}

Summary scaled(Summary s, double factor) {
  return {.median = s.median * factor, .lo = s.lo * factor, .hi = s.hi * factor, .n = s.n};
}
// Independent: the half widths' squares add.
Summary difference(const Summary& a, const Summary& b) {
  const double middle = std::max(0.0, a.median - b.median);
  const double below = std::hypot(a.median - a.lo, b.hi - b.median);
  const double above = std::hypot(a.hi - a.median, b.median - b.lo);
  return {.median = middle,
          .lo = std::max(0.0, middle - below),
          .hi = middle + above,
          .n = std::min(a.n, b.n)};
}

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

LayerSpec product_layer(int hidden, int intermediate) {
  LayerSpec layer{.model = "calibration", .hidden = hidden, .intermediate = intermediate};
  layer.routing = {.experts = 8, .top_k = 2, .renormalize = true};
  layer.shared = {.count = 1, .shared_width = intermediate};
  return layer;
}

bool is_product(Op op) {
  return op == Op::mlp_stage1 || op == Op::mlp_stage2 || op == Op::grouped_stage1 ||
         op == Op::grouped_stage2;
}

void add_products(Workbench& bench, const LayerSpec& layer, int tokens, int repeats,
                  Calibration& result) {
  const DeviceInfo& info = bench.device();
  const Variant variant{.launch = info.graph ? Launch::graph : Launch::stream};
  Case spec{.layer = layer, .variant = variant, .tokens = tokens, .routing = {}};
  spec.device = info.name;
  bench.set_workload({.spec = spec, .sets = 2, .rounds = 2});
  const LayerPlan plan = make_plan(layer, measured_shard(layer, 1), variant, tokens, info);
  const std::vector<Choice> choices = default_choices(plan, info);
  const auto runner = bench.open(variant);
  // The last step first: all kernels are compiled at once for it.
  runner->open_step(plan.steps.size() - 1, choices);
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    if (!is_product(step.op)) continue;
    const auto timed = runner->open_step(i, choices);
    int round = 0;
    const Summary us = repeated(repeats, [&] { return timed->time_us(choices[i], round++ % 2); });
    const bool up = step.op == Op::mlp_stage1 || step.op == Op::grouped_stage1;
    const double flops = timed->work().flops;
    result.matrix.push_back({.op = to_name(step.op),
                             .tokens = tokens,
                             .n = up ? 2 * layer.intermediate : layer.hidden,
                             .k = up ? layer.hidden : layer.intermediate,
                             .us = us,
                             .tflops = {.median = flops / us.median * 1e-6,
                                        .lo = flops / us.hi * 1e-6,
                                        .hi = flops / us.lo * 1e-6,
                                        .n = us.n}});
  }
}

// The best share of the peak that products of one kind reach. Where the time was over before one
// that is large enough, what the matrix units do out of registers: no product does more.
CalibratedValue best_share(const Calibration& c, bool grouped) {
  constexpr int kLarge = 256;  // tokens: fewer are about memory
  const double peak = c.find("bf16_tflops")->value.median;
  const auto share = [&](double tflops) { return std::clamp(tflops / peak, 0.01, 1.0); };
  Summary best;
  for (const MatrixPoint& point : c.matrix)
    if (point.op.starts_with("grouped") == grouped && point.tokens >= kLarge &&
        point.tflops.median > best.median)
      best = point.tflops;
  const std::string field = grouped ? "grouped_share" : "gemm_share";
  if (best.n == 0)
    return {field, told(share(c.register_tflops)),
            "no large product was timed: the matrix units out of registers, of bf16_tflops",
            "inferred"};
  return {field,
          {.median = share(best.median), .lo = share(best.lo), .hi = share(best.hi), .n = best.n},
          std::string("best ") + (grouped ? "grouped" : "dense") +
              " product of the grid, default tiles, of bf16_tflops"};
}

// What both grouped stages take of next to nothing: the smallest width, one token.
Summary least_grouped(const Calibration& c) {
  Summary sum;
  for (const MatrixPoint& p : c.matrix) {
    if (!p.op.starts_with("grouped") || p.tokens != 1) continue;
    if (sum.n > 0 && p.op == "grouped_stage1") break;  // of the first width alone
    sum = {.median = sum.median + p.us.median,
           .lo = sum.lo + p.us.lo,
           .hi = sum.hi + p.us.hi,
           .n = p.us.n};
  }
  return sum;
}

// What a product of one token takes beyond its weights and its launch: loads before the work, the
// reduction, the store. The least of the grid: no kernel of it needs more.
std::optional<Summary> ramp_of_products(const Calibration& c) {
  std::optional<Summary> least;
  const Summary& launch = c.find("launch_us")->value;
  for (const MatrixPoint& p : c.matrix) {
    if (p.op.starts_with("grouped") || p.tokens != 1) continue;
    const double read = 2.0 * p.n * p.k / (c.find("read_gbs")->value.median * 1e3);
    const Summary rest{
        .median = p.us.median - read, .lo = p.us.lo - read, .hi = p.us.hi - read, .n = p.us.n};
    const Summary ramp = difference(rest, launch);
    if (!least || ramp.median < least->median) least = ramp;
  }
  return least;
}

}  // namespace

const CalibratedValue* Calibration::find(const std::string& field) const {
  for (const CalibratedValue& value : values)
    if (value.field == field) return &value;
  return nullptr;
}

Calibration calibrate_memory(Microbench& bench, const DeviceInfo& info, double peak_gflops,
                             const CalibrationSpec& spec) {
  return MemoryCalibration(bench, info, spec).run(peak_gflops);
}

void calibrate_matrix(Workbench& bench, const CalibrationSpec& spec, Calibration& result) {
  const bool cpu = bench.device().kind == "cpu";
  const auto or_else = [](const std::vector<int>& given, std::vector<int> usual) {
    return given.empty() ? usual : given;
  };
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  int left_out = 0;
  for (const int tokens :
       or_else(spec.tokens, cpu ? std::vector{256, 1, 64} : std::vector{2048, 1, 512, 64}))
    for (const int intermediate :
         or_else(spec.intermediate, cpu ? std::vector{128, 512} : std::vector{128, 1024}))
      for (const int hidden :
           or_else(spec.hidden, cpu ? std::vector{1024} : std::vector{2048, 4096})) {
        if (!result.matrix.empty() && seconds() > spec.matrix_seconds) {
          ++left_out;
          continue;
        }
        add_products(bench, product_layer(hidden, intermediate), tokens, spec.repeats, result);
      }
  if (left_out > 0)
    result.notes.push_back(fmt::format("matrix: {} shapes left out, the time was over", left_out));
  check(result.find("bf16_tflops") != nullptr, "the memory is calibrated first");
  result.values.push_back(best_share(result, false));
  result.values.push_back(best_share(result, true));
  if (const auto ramp = ramp_of_products(result))
    result.values.push_back(
        {"ramp_us", *ramp, "the fastest dense product of one token, less its weights and launch"});
  result.values.push_back({"grouped_us", least_grouped(result),
                           "both grouped stages of one token and the smallest width"});
}

}  // namespace fse
