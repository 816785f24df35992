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
#include "reports/prediction.h"
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

// What the cost model says of the cases of one selection, beside what was measured.
Pairs beside_simulated(const Store& store, const ReportOptions& options) {
  if (!options.against.empty())
    fail_usage("report: --compare simulated B predicts B, expected no --against");
  ReportData known;
  for (const auto& study : store.studies())
    for (Environment& e : store.environments(study.id)) known.environments.push_back(std::move(e));
  known.models = known_models(known.environments, configs_dir());
  const auto predicted = [&](const Case& c) -> std::optional<Summary> {
    const auto layer = predict(known, c);
    if (!layer) return {};
    return Summary{.median = layer->us, .lo = layer->low_us, .hi = layer->high_us};
  };
  return match_simulated(store, options.compare[1], predicted);
}

Pairs measured_pairs(const Store& store, const ReportOptions& options) {
  if (options.compare[0] == kSimulated) return beside_simulated(store, options);
  if (options.against.empty())
    return match_pairs(store, options.compare[0], store, options.compare[1]);
  return match_pairs(store, options.compare[0], Store::open_read_only(options.against),
                     options.compare[1]);
}

int write_comparison(const Store& store, const ReportOptions& options) {
  const Pairs pairs = measured_pairs(store, options);
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
