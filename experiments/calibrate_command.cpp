#include "experiments/calibrate_command.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>

#include "core/error.h"
#include "core/version.h"
#include "experiments/device_choice.h"

namespace fse {
namespace {

// In double quotes, as YAML reads them.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return out + '"';
}

std::string number(double value) {
  return fmt::format("{:.5g}", value);
}

// An interval needs six samples; what the device says has none. It holds the value where that was
// brought into the field's range.
std::string interval_text(const Summary& s, double value) {
  if (s.n < 6) return "";
  return fmt::format("low: {}, high: {}, n: {}, ", number(std::min(s.lo, value)),
                     number(std::max(s.hi, value)), s.n);
}

std::string line_of(const CalibratedValue& v, const DeviceField& field, const std::string& date) {
  const double value = std::clamp(v.value.median, field.lowest, field.highest);
  return fmt::format("{}: {{value: {}, {}unit: {}, source: {}, date: {}, kind: {}}}\n", v.field,
                     number(value), interval_text(v.value, value), quoted(std::string(field.unit)),
                     quoted("fselab calibrate: " + v.how), date, v.kind);
}

}  // namespace

std::string to_yaml(const Calibration& c, const DeviceInfo& info, const std::string& about,
                    const std::string& date) {
  std::string text = fmt::format("name: {}\narch: {}\nmeasured_by: {}\n",
                                 quoted(info.product.empty() ? info.name : info.product),
                                 info.kind == "cpu" ? "cpu" : info.arch, quoted(about));
  for (const DeviceField& field : device_fields())
    if (const CalibratedValue* value = c.find(std::string(field.name)))
      text += line_of(*value, field, date);
  if (!c.reads.empty()) text += "reads:\n";
  for (const BandwidthPoint& p : c.reads)
    text += fmt::format(
        "  - {{workgroups: {}, footprint_mb: {}, cached: {}, gbs: {}, low: {}, high: {}}}\n",
        p.workgroups, number(p.footprint_mb), p.cached, number(p.gbs), number(p.low),
        number(p.high));
  if (!c.matrix.empty()) text += "products:\n";
  for (const MatrixPoint& p : c.matrix)
    text += fmt::format("  - {{op: {}, tokens: {}, n: {}, k: {}, tflops: {}, low: {}, high: {}}}\n",
                        p.op, p.tokens, p.n, p.k, number(p.tflops.median), number(p.tflops.lo),
                        number(p.tflops.hi));
  if (!c.layers.empty()) text += "layers:\n";
  for (const LayerPoint& p : c.layers)
    text += fmt::format(
        "  - {{dtype: {}, tokens: {}, experts: {}, variant: {}, early: {}, us: {}, low: {}, high: "
        "{}, "
        "busy_us: {}}}\n",
        to_name(p.dtype), p.tokens, p.experts, to_label(p.variant), p.early, number(p.us.median),
        number(p.us.lo), number(p.us.hi), number(p.busy_us));
  for (const std::string& note : c.notes) text += "# " + note + "\n";
  return text;
}

void calibrate_device(const CalibrateOptions& options) {
  const std::string name = choose_device(options.device);
  require_measured_device(name);
  const auto start = std::chrono::steady_clock::now();
  const auto backend = open_device(name);
  const auto bench = backend->microbench();
  if (!bench)
    throw Error(ErrorKind::environment,
                fmt::format("device '{}' has no microbenchmarks, expected cpu or a GPU", name));
  CalibrationSpec spec{.repeats = options.repeats, .matrix_seconds = options.matrix_seconds};
  if (options.quick) spec.hidden = {256}, spec.intermediate = {128}, spec.tokens = {1};
  fmt::print(stderr, "{}: memory, launches and streams\n", name);
  Calibration result =
      calibrate_memory(*bench, backend->device(), backend->measure_peak_gflops(), spec);
  fmt::print(stderr, "{}: matrix products\n", name);
  const auto workbench = open_workbench(open_device(name));
  calibrate_matrix(*workbench, spec, result);
  fmt::print(stderr, "{}: a layer, its ways to run\n", name);
  calibrate_layers(*workbench, spec, result);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const std::string about = fmt::format("fselab {} ({}), {}, {:.0f} s", version(), git_revision(),
                                        bench->limits().driver, seconds);
  const std::string date = fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::time(nullptr)));
  fmt::print("{}", to_yaml(result, backend->device(), about, date));
}

}  // namespace fse
