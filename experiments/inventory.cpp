#include "experiments/inventory.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "experiments/device_choice.h"
#include "kernels/catalog.h"
#include "kernels/hip/backend.h"
#include "reports/table.h"

namespace fse {
namespace {

std::string names(const std::vector<DType>& dtypes) {
  std::vector<std::string> texts;
  for (const DType dtype : dtypes) texts.push_back(to_name(dtype));
  return fmt::format("{}", fmt::join(texts, ", "));
}

std::vector<std::string> device_row(const DeviceInfo& d) {
  return {d.name,
          escape_markdown(d.arch),
          escape_markdown(d.product),
          std::to_string(d.compute_units),
          fmt::format("{:.1f}", static_cast<double>(d.memory_bytes) / 1e9),
          fmt::format("{:.1f}", static_cast<double>(d.llc_bytes) / 1e6),
          names(d.dtypes),
          d.graph ? "yes" : "no"};
}

}  // namespace

void print_devices() {
  Table table{.titles = {"<device", "<arch", "<product", "units", "memory GB", "last cache MB",
                         "<dtypes", "<graph"}};
  for (const std::string& name : device_names())
    table.rows.push_back(device_row(open_device(name)->device()));
  fmt::print("{}\n{}", to_markdown(table), describe_gpus());
}

void print_kernels() {
  Table table{.titles = {"<kernel", "<op", "<device", "<axes", "tiles"}};
  for (const KernelDef& kernel : catalog()) {
    std::vector<std::string> axes;
    int64_t tiles = 1;  // before legal() and fits()
    for (const Axis& axis : kernel.axes) {
      axes.push_back(fmt::format("{}={}", axis.name, fmt::join(axis.values, ",")));
      tiles *= static_cast<int64_t>(axis.values.size());
    }
    table.rows.push_back({kernel.name, to_name(kernel.op), kernel.device,
                          fmt::format("{}", fmt::join(axes, " ")), std::to_string(tiles)});
  }
  fmt::print("{}", to_markdown(table));
}

}  // namespace fse
