#include "reports/compare.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <sstream>

#include "core/error.h"
#include "core/filter.h"
#include "core/store_error.h"
#include "core/strict_json.h"
#include "reports/table.h"

namespace fse {

namespace {

struct KeyColumn {
  std::string_view name, sql;
};
constexpr KeyColumn kKey[] = {
    {"model", "c.model"},
    {"dtype", "c.dtype"},
    {"activations", "c.activations"},
    {"tp", "c.tp"},
    {"tokens", "c.tokens"},
    {"routing", "c.routing"},
    {"cache", "c.cache"},
    {"seed", "c.seed"},
    {"device", "e.device"},
    {"gate", "c.variant_gate"},
    {"topk", "c.variant_topk"},
    {"shared", "c.variant_shared"},
    {"experts", "c.variant_experts"},
    {"launch", "c.variant_launch"},
};

std::vector<std::string> conditions_of(const std::string& selection) {
  if (selection.find_first_of("=<>~") == std::string::npos) return {"study=" + selection};
  std::vector<std::string> all;
  std::istringstream words(selection);
  for (std::string word; words >> word;) all.push_back(word);
  return all;
}

bool names(const std::vector<std::string>& conditions, std::string_view column) {
  return std::any_of(conditions.begin(), conditions.end(), [&](const std::string& c) {
    const std::string name = c.substr(0, c.find_first_of("=!<>~"));
    return name == column || name == "variant." + std::string(column);
  });
}

struct Selected {
  AttemptRecord layer;
  std::string race;
};
using Side = std::map<std::vector<std::string>, Selected>;

std::string key_sql(const std::vector<KeyColumn>& columns) {
  std::string sql;
  for (const KeyColumn& c : columns) sql += fmt::format(", {}", c.sql);
  return sql;
}

// Ascending ids: of several attempts at one key the newest stays.
Side select(const Store& store, const std::vector<std::string>& conditions,
            const std::vector<KeyColumn>& columns) {
  const Filter filter = parse_filter(conditions);
  Side side;
  try {
    SQLite::Statement q(store.database(),
                        fmt::format("SELECT a.study, a.case_id, {}{} FROM {} WHERE "
                                    "a.level = 'layer' AND a.verified = 1 AND "
                                    "a.status = 'measured' AND {} ORDER BY a.id",
                                    kRaceSql, key_sql(columns), kFilterRows, filter.where));
    int at = 0;
    for (const auto& parameter : filter.parameters)
      std::visit([&](const auto& value) { q.bind(++at, value); }, parameter);
    struct Place {
      int64_t study;
      std::string case_id, race;
    };
    std::map<std::vector<std::string>, Place> newest;
    while (q.executeStep()) {
      std::vector<std::string> key;
      for (size_t c = 0; c < columns.size(); ++c)
        key.push_back(q.getColumn(static_cast<int>(c) + 3).getString());
      newest[key] = {q.getColumn(0).getInt64(), q.getColumn(1).getString(),
                     q.getColumn(2).getString()};
    }
    for (const auto& [key, at] : newest)
      if (auto layer = store.layer_result(at.study, at.case_id)) side[key] = {*layer, at.race};
  } catch (const SQLite::Exception& e) {
    throw_store_error(e, store.file(), "comparing");
  }
  return side;
}

void compare(Pair& pair, bool one_database) {
  const auto& a = pair.baseline.outcome.samples_us;
  const auto& b = pair.candidate.outcome.samples_us;
  pair.paired = one_database && a.size() == b.size() && pair.baseline.run == pair.candidate.run &&
                pair.baseline.id != pair.candidate.id;
  if (pair.paired) {
    pair.comparison = compare_paired(b, a);
    return;
  }
  pair.comparison = compare_summaries(pair.candidate.time_us, pair.baseline.time_us);
  pair.comparison.p = mann_whitney_p(b, a);
}

constexpr double kDelta = 0.01;  // the effect threshold of the verdicts

AaFloor floor_of(const std::vector<Pair>& pairs) {
  AaFloor floor{.change = std::nan("")};
  double largest = 0;
  for (const Pair& pair : pairs)
    for (const AttemptRecord* layer : {&pair.baseline, &pair.candidate}) {
      floor.change = std::fmax(floor.change, change_of_halves(*layer));
      const auto itself = against_itself(*layer, kDelta);
      if (!itself) continue;
      ++floor.controls;
      floor.failed += failed_control(*layer, kDelta);
      largest = std::max(largest, std::fabs(itself->ratio.median - 1));
    }
  if (floor.controls > 0) floor.change = largest;
  return floor;
}

void decide_nothing_where_controls_failed(Pairs& pairs) {
  for (Pair& pair : pairs.all)
    if (pair.failed_control && pair.comparison.verdict != Verdict::invalid)
      pair.comparison.verdict = Verdict::undecided;
}

std::string undecided_text(const Pairs& pairs) {
  const auto failed = std::count_if(pairs.all.begin(), pairs.all.end(),
                                    [](const Pair& p) { return p.failed_control; });
  if (failed == 0) return {};
  return fmt::format(
      " {} of the pairs were measured in a race in which a layer was faster or slower than itself: "
      "they are UNDECIDED.",
      failed);
}

std::map<std::string, Case> cases_by_id(const Store& store) {
  std::map<std::string, Case> all;
  for (const auto& study : store.studies())
    for (const CaseRecord& record : store.cases(study.id)) all[case_id(record.spec)] = record.spec;
  return all;
}

std::string xml(const std::string& text) {
  std::string out;
  for (const char c : printable(text))
    out += c == '<'   ? "&lt;"
           : c == '>' ? "&gt;"
           : c == '&' ? "&amp;"
           : c == '"' ? "&quot;"
                      : std::string(1, c);
  return out;
}

std::string name_of(const Pair& pair) {
  std::string name;
  for (const std::string& part : pair.key) name += (name.empty() ? "" : " ") + part;
  return name;
}

}  // namespace

Pairs match_pairs(const Store& a, const std::string& baseline, const Store& b,
                  const std::string& candidate) {
  const auto left = conditions_of(baseline), right = conditions_of(candidate);
  std::vector<KeyColumn> columns;
  Pairs pairs{.baseline = baseline, .candidate = candidate};
  for (const KeyColumn& column : kKey) {
    const bool compared = names(left, column.name) || names(right, column.name) ||
                          ((names(left, "variant") || names(right, "variant")) &&
                           column.sql.starts_with("c.variant_"));
    if (compared) continue;
    columns.push_back(column);
    pairs.key_columns.emplace_back(column.name);
  }
  const Side from = select(a, left, columns), to = select(b, right, columns);
  const std::set<std::string> failed_a = failed_races(a, kDelta),
                              failed_b = failed_races(b, kDelta);
  for (const auto& [key, from_a] : from) {
    const auto other = to.find(key);
    if (other == to.end()) {
      ++pairs.only_baseline;
      continue;
    }
    pairs.all.push_back({.key = key,
                         .baseline = from_a.layer,
                         .candidate = other->second.layer,
                         .comparison = {},
                         .failed_control = failed_a.contains(from_a.race) ||
                                           failed_b.contains(other->second.race)});
    compare(pairs.all.back(), &a == &b);
  }
  pairs.only_candidate = static_cast<int64_t>(to.size() - pairs.all.size());
  std::vector<Comparison*> all;
  for (Pair& pair : pairs.all) all.push_back(&pair.comparison);
  correct_all(all);
  decide_nothing_where_controls_failed(pairs);
  pairs.floor = floor_of(pairs.all);
  return pairs;
}

Pairs match_simulated(const Store& store, const std::string& candidate, const Predict& predict) {
  const std::vector<KeyColumn> columns(std::begin(kKey), std::end(kKey));
  Pairs pairs{.baseline = kSimulated, .candidate = candidate};
  for (const KeyColumn& column : kKey) pairs.key_columns.emplace_back(column.name);
  const std::map<std::string, Case> cases = cases_by_id(store);
  const std::set<std::string> failed = failed_races(store, kDelta);
  for (const auto& [key, selected] : select(store, conditions_of(candidate), columns)) {
    const AttemptRecord& layer = selected.layer;
    const auto found = cases.find(layer.case_id);
    const auto predicted = found == cases.end() ? std::nullopt : predict(found->second);
    if (!predicted) {
      ++pairs.only_candidate;
      continue;
    }
    Pair pair{.key = key, .baseline = {}, .candidate = layer, .comparison = {}};
    pair.baseline.time_us = *predicted;
    pair.baseline.outcome.accuracy.rel_frobenius = std::nan("");
    pair.comparison = compare_summaries(layer.time_us, *predicted);
    pair.comparison.p_holm = std::nan("");  // there are no samples to test
    pair.failed_control = failed.contains(selected.race);
    pairs.all.push_back(std::move(pair));
  }
  decide_nothing_where_controls_failed(pairs);
  pairs.floor = floor_of(pairs.all);
  return pairs;
}

Grid to_grid(const Pairs& pairs) {
  Grid grid{.columns = pairs.key_columns, .rows = {}};
  for (const char* column :
       {"baseline", "baseline_us", "candidate", "candidate_us", "change_percent", "change_lo",
        "change_hi", "change_us", "p_holm", "verdict", "compared_by", "baseline_rel_frobenius",
        "rel_frobenius", "bound", "baseline_attempt", "attempt"})
    grid.columns.emplace_back(column);
  for (const Pair& p : pairs.all) {
    std::vector<Cell> row(p.key.begin(), p.key.end());
    const Summary& ratio = p.comparison.ratio;
    row.insert(
        row.end(),
        {pairs.baseline, cell(p.baseline.time_us.median), pairs.candidate,
         cell(p.candidate.time_us.median), cell(100 * (ratio.median - 1)),
         cell(100 * (ratio.lo - 1)), cell(100 * (ratio.hi - 1)),
         cell(p.comparison.difference.median), cell(p.comparison.p_holm),
         to_name(p.comparison.verdict), std::string(p.paired ? "rounds" : "intervals"),
         cell(p.baseline.outcome.accuracy.rel_frobenius),
         cell(p.candidate.outcome.accuracy.rel_frobenius), cell(p.candidate.outcome.accuracy.bound),
         p.baseline.id > 0 ? Cell{p.baseline.id} : Cell{}, p.candidate.id});
    grid.rows.push_back(std::move(row));
  }
  return grid;
}

Grid compare_selections(const Store& a, const std::string& baseline, const Store& b,
                        const std::string& candidate) {
  return to_grid(match_pairs(a, baseline, b, candidate));
}

std::string compare_help() {
  return "A selection is a study's name, or filter conditions in one word (quoted, with spaces\n"
         "between): 'variant.shared=slot launch=graph'. What the conditions name may differ; all\n"
         "else must agree for two cases to be compared. A is the baseline: a change below 0 means\n"
         "that B is faster. Verdicts are corrected over all pairs (Holm).\n"
         "In a report A may be `simulated`: what the cost model predicts of B's cases.\n";
}

double parse_gate(const std::string& text) {
  constexpr std::string_view kBefore = "layer_time_us<=";
  char* end = nullptr;
  if (text.starts_with(kBefore)) {
    const std::string number = text.substr(kBefore.size());
    const double percent = std::strtod(number.c_str(), &end);
    if (end != number.c_str() && std::string_view(end) == "%" && std::isfinite(percent) &&
        percent > -100)
      return 1 + percent / 100;
  }
  fail_usage(fmt::format("gate '{}': expected layer_time_us<=+3%", printable(text)));
}

bool breaks_gate(const Pair& pair, double limit) {
  return !(pair.comparison.ratio.lo <= limit);
}

std::string to_junit(const Pairs& pairs, double limit) {
  const auto broken = std::count_if(pairs.all.begin(), pairs.all.end(),
                                    [&](const Pair& p) { return breaks_gate(p, limit); });
  std::string out = fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<testsuites>\n<testsuite name=\"fselab {} against {}\" tests=\"{}\" failures=\"{}\">\n",
      xml(pairs.candidate), xml(pairs.baseline), pairs.all.size(), broken);
  for (const Pair& p : pairs.all) {
    const Summary& ratio = p.comparison.ratio;
    out += fmt::format("<testcase classname=\"layer_time_us\" name=\"{}\" time=\"{:.9f}\"",
                       xml(name_of(p)), p.candidate.time_us.median / 1e6);
    if (!breaks_gate(p, limit)) {
      out += "/>\n";
      continue;
    }
    out += fmt::format(
        "><failure message=\"{:+.1f} %, interval [{:+.1f}, {:+.1f}], gate {:+.1f} %\"/>"
        "</testcase>\n",
        100 * (ratio.median - 1), 100 * (ratio.lo - 1), 100 * (ratio.hi - 1), 100 * (limit - 1));
  }
  return out + "</testsuite>\n</testsuites>\n";
}

std::string to_markdown(const Pairs& pairs) {
  std::map<Verdict, int> verdicts;
  for (const Pair& p : pairs.all) ++verdicts[p.comparison.verdict];
  std::string text =
      fmt::format("# {} against the baseline {}\n\n{} pairs", escape_markdown(pairs.candidate),
                  escape_markdown(pairs.baseline), pairs.all.size());
  for (const auto& [verdict, n] : verdicts) text += fmt::format(", {} {}", n, to_name(verdict));
  text += fmt::format(
      "; {} cases only in the baseline, {} only in the other. Negative changes are faster; "
      "{}.{}\n\n",
      pairs.only_baseline, pairs.only_candidate,
      pairs.baseline == kSimulated
          ? "verdicts are by the intervals of prediction (90 %) and measurement (95 %)"
          : "verdicts are corrected over all pairs (Holm)",
      to_text(pairs.floor) + undecided_text(pairs));
  Grid losing = to_grid(pairs), all = losing;
  losing.rows.clear();
  for (size_t i = 0; i < pairs.all.size(); ++i)
    if (pairs.all[i].comparison.verdict == Verdict::slower) losing.rows.push_back(all.rows[i]);
  if (!losing.rows.empty()) text += "## Where it loses\n\n" + to_markdown(losing) + "\n";
  return text + "## All pairs\n\n" + to_markdown(all);
}

}  // namespace fse
