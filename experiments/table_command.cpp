#include "experiments/table_command.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/uncertainty.h"
#include "core/what_if.h"
#include "experiments/device_reader.h"
#include "experiments/kernel_table.h"
#include "experiments/paths.h"
#include "experiments/yaml_reader.h"

namespace fse {
namespace {

DeviceModel device_of(const TableOptions& options) {
  std::string name;
  for (const std::string& text : options.overrides) {
    if (!text.starts_with("device="))
      fail_usage(fmt::format("'{}': a table takes device=NAME alone", text));
    name = text.substr(7);
    if (name.starts_with("sim:")) name = name.substr(4);
  }
  if (name.empty()) fail_usage("no device, expected device=NAME, e.g. device=mi355x");
  DeviceModel device = find_device_model(name, configs_dir());
  FrameworkModel unused;
  apply_what_if(options.what_if, device, unused);
  return device;
}

// Why a row says nothing about the prediction.
std::string aside(const KernelRow& row, const DeviceModel& device) {
  if (!row.doubt.empty()) return row.doubt;
  const std::string& units = row.cells.at("cu_num");
  if (parse_number(units) == device.compute_units) return "";
  return fmt::format("of a device with {} compute units", units);
}

void print_row(const KernelRow& row, const Prediction& p, const std::string& note, bool json) {
  const LayerSpec& l = row.layer;
  const double error = (p.predicted / p.measured - 1) * 100;
  if (json) {
    const nlohmann::ordered_json object{{"line", row.line},
                                        {"hidden", l.hidden},
                                        {"intermediate", l.intermediate},
                                        {"experts", l.routing.experts},
                                        {"top_k", l.routing.top_k},
                                        {"dtype", to_name(l.dtype)},
                                        {"scales", to_name(row.scales)},
                                        {"tokens", row.tokens},
                                        {"predicted_us", p.predicted},
                                        {"low_us", p.interval.low},
                                        {"high_us", p.interval.high},
                                        {"table_us", row.us},
                                        {"aside", note}};
    fmt::print("{}\n", object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return;
  }
  fmt::print("{:>5} {:>6} {:>6} {:>5} {:>3} {:<12} {:>6} {:>10.1f} {:>10.1f} {:>8}  {}\n", row.line,
             l.hidden, l.intermediate, l.routing.experts, l.routing.top_k, to_name(l.dtype),
             row.tokens, p.predicted, row.us, row.us > 0 ? fmt::format("{:+.1f}", error) : "-",
             note);
}

void print_sum(const std::vector<Prediction>& counted, size_t rows, const std::string& device) {
  if (counted.empty()) {
    fmt::print("None of {} rows is of {}.\n", rows, device);
    return;
  }
  double predicted = 0, measured = 0;
  for (const Prediction& p : counted) predicted += p.predicted, measured += p.measured;
  const ErrorSummary e = summarize_errors(counted);
  fmt::print(
      "{} of {} rows counted: mean error {:.1f} %, median {:.1f}, p90 {:.1f}, worst {:.1f}; in sum "
      "{:.0f} us predicted, {:.0f} in the table, {:+.1f} %\n",
      e.n, rows, e.mean, e.median, e.p90, e.worst, predicted, measured,
      (predicted / measured - 1) * 100);
}

}  // namespace

void simulate_table(const TableOptions& options) {
  const DeviceModel device = device_of(options);
  const std::vector<KernelRow> rows = read_kernel_table(options.table);
  if (!options.json)
    fmt::print(
        "Predicted, not measured. Columns: line, hidden, intermediate, experts, top_k, dtype, "
        "tokens, predicted us, table's us, error %, why it is not counted\n");
  std::vector<Prediction> counted;
  for (const KernelRow& row : rows) {
    const auto us = [&](const DeviceModel& d) {
      return grouped_us(row.layer, make_shard(row.layer, 1, 0), d, {}, 0, row.tokens,
                        library_tiles(row.scales));
    };
    const Prediction p{us(device), row.us, time_interval(device, us)};
    const std::string note = aside(row, device);
    if (note.empty()) counted.push_back(p);
    print_row(row, p, note, options.json);
  }
  if (!options.json) print_sum(counted, rows.size(), device.name);
}

}  // namespace fse
