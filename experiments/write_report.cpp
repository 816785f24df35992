#include "experiments/write_report.h"

#include <fmt/format.h>

#include <fstream>

#include "core/error.h"
#include "reports/markdown.h"

namespace fse {

void write_report(const ReportOptions& options) {
  const Store store = Store::open_read_only(options.db);
  const std::string text = to_markdown(load_report(store, options.study));
  if (options.out.empty()) {
    fmt::print("{}", text);
    return;
  }
  std::ofstream file(options.out, std::ios::binary);
  file << text << std::flush;
  if (!file)
    throw Error(ErrorKind::environment,
                fmt::format("{}: cannot be written, expected a file in a folder that exists",
                            options.out.string()));
}

}  // namespace fse
