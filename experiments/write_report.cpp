#include "experiments/write_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "experiments/paths.h"
#include "experiments/sourced_ceilings.h"
#include "experiments/write_file.h"
#include "reports/compare.h"
#include "reports/html.h"
#include "reports/json.h"
#include "reports/markdown.h"
#include "reports/rows.h"

namespace fse {
namespace {

void write(const std::filesystem::path& out, const std::string& text) {
  if (out.empty()) {
    fmt::print("{}", text);
    return;
  }
  write_file(out, text);
}

std::string study_text(const Store& store, const ReportOptions& options) {
  ReportData data = load_report(store, options.study);
  data.models = known_models(data.environments, configs_dir());
  const auto sourced = sourced_ceilings(data.models);
  data.ceilings.insert(data.ceilings.end(), sourced.begin(), sourced.end());
  if (options.format == "csv") return to_csv(result_rows(data));
  if (options.format == "json") return to_json(store, data);
  if (options.format == "html")
    return to_html(store, data, {.reports = reports_dir(), .libraries = chart_libraries()});
  return to_markdown(data);
}

// A gate over no pair at all would hold for a mistyped selection, too.
int judge(const Pairs& pairs, const ReportOptions& options) {
  const double limit = options.gate.empty() ? 1e300 : parse_gate(options.gate);
  if (!options.junit.empty()) write(options.junit, to_junit(pairs, limit));
  if (options.gate.empty()) return 0;
  if (pairs.all.empty())
    fail_usage(
        fmt::format("gate: '{}' and '{}' have no measured case in common, expected at least "
                    "one",
                    pairs.baseline, pairs.candidate));
  const auto broken = std::count_if(pairs.all.begin(), pairs.all.end(),
                                    [&](const Pair& p) { return breaks_gate(p, limit); });
  fmt::print(stderr, "gate {}: {} of {} pairs break it\n", options.gate, broken, pairs.all.size());
  return broken ? 1 : 0;
}

int write_comparison(const Store& store, const ReportOptions& options) {
  const Store other = Store::open_read_only(options.against.empty() ? options.db : options.against);
  const Pairs pairs = match_pairs(store, options.compare[0],
                                  options.against.empty() ? store : other, options.compare[1]);
  write(options.out, options.format == "csv"    ? to_csv(to_grid(pairs))
                     : options.format == "json" ? to_json(to_grid(pairs))
                                                : to_markdown(pairs));
  return judge(pairs, options);
}

}  // namespace

int write_report(const ReportOptions& options) {
  if (options.format == "html" && options.out.empty()) fail_usage("report: html needs --out FILE");
  const Store store = Store::open_read_only(options.db);
  if (!options.compare.empty()) {
    if (options.format == "html")
      fail_usage("report: --compare makes md, csv or json, expected --format one of them");
    return write_comparison(store, options);
  }
  if (!options.gate.empty() || !options.junit.empty())
    fail_usage("report: --gate and --junit judge a comparison, expected --compare A B");
  write(options.out, study_text(store, options));
  return 0;
}

}  // namespace fse
