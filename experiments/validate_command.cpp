#include "experiments/validate_command.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "experiments/paths.h"
#include "experiments/validation.h"

namespace fse {
namespace {

using Json = nlohmann::ordered_json;

std::string figure(double value, int digits = 1) {
  return std::isnan(value) ? "-" : fmt::format("{:.{}f}", value, digits);
}

void print_errors(const std::vector<SplitScore>& scores) {
  fmt::print(
      "\n| {:<16} | {:<4} | {:<5} | {:>3} | {:>8} | {:>6} | {:>6} | {:>6} | {:>6} | {:>9} |\n",
      "split", "use", "of", "n", "left out", "MAPE %", "median", "p90", "worst", "covered %");
  fmt::print(
      "|:{0:-<16}-|:{0:-<4}-|:{0:-<5}-|-{0:->3}:|-{0:->8}:|-{0:->6}:|-{0:->6}:|-{0:->6}:|"
      "-{0:->6}:|-{0:->9}:|\n",
      "");
  const auto line = [](const SplitScore& s, const std::string& unit, const ErrorSummary& e) {
    fmt::print(
        "| {:<16} | {:<4} | {:<5} | {:>3} | {:>8} | {:>6} | {:>6} | {:>6} | {:>6} | {:>9} |\n",
        s.split.name, s.split.use, unit, e.n, s.doubtful, figure(e.mean), figure(e.median),
        figure(e.p90), figure(e.worst), unit == "TPOT" ? "-" : figure(e.covered, 0));
  };
  for (const SplitScore& score : scores) {
    line(score, score.unit, score.errors());
    if (!score.tpots.empty()) line(score, "TPOT", score.tpot_errors());
  }
}

void print_gains(const std::vector<SplitScore>& scores) {
  fmt::print("\n| {:<16} | {:<4} | {:>3} | {:>8} | {:>8} | {:>6} | {:>9} | {:>10} | {:>12} |\n",
             "gain", "use", "n", "mean pp", "worst pp", "sign %", "covered %", "no gain pp",
             "nearest pp");
  fmt::print(
      "|:{0:-<16}-|:{0:-<4}-|-{0:->3}:|-{0:->8}:|-{0:->8}:|-{0:->6}:|-{0:->9}:|-{0:->10}:|"
      "-{0:->12}:|\n",
      "");
  for (const SplitScore& score : scores) {
    if (score.gains.empty()) continue;
    const GainSummary g = score.gain_errors();
    fmt::print("| {:<16} | {:<4} | {:>3} | {:>8} | {:>8} | {:>6} | {:>9} | {:>10} | {:>12} |\n",
               score.split.name, score.split.use, g.n, figure(g.mean), figure(g.worst),
               figure(g.sign_right, 0), figure(g.covered, 0), figure(g.no_gain),
               figure(g.nearest_gain));
  }
}

void print_goals(const std::vector<SplitScore>& scores) {
  fmt::print("\nGoals:\n");
  for (const SplitScore& score : scores) {
    const std::map<std::string, double> reached = score.metrics();
    for (const auto& [metric, goal] : score.split.goal) {
      const auto found = reached.find(metric);
      if (found == reached.end()) continue;
      const bool met = at_most(metric) ? found->second <= goal : found->second >= goal;
      fmt::print("  {:<16} {:<10} {:>6} (goal: at {} {}) {}\n", score.split.name, metric,
                 figure(found->second), at_most(metric) ? "most" : "least", goal,
                 met ? "met" : "missed");
    }
    if (!score.split.note.empty()) fmt::print("  {:<16} {}\n", score.split.name, score.split.note);
  }
}

void print_rows(const SplitScore& score) {
  const auto print = [&](const std::vector<ScoredRow>& rows, const char* unit, bool relative) {
    for (const ScoredRow& row : rows) {
      const Prediction& p = row.value;
      const double error =
          relative ? (p.predicted / p.measured - 1) * 100 : p.predicted - p.measured;
      fmt::print("  {:<16} {:<52} {:>9.2f} {:>9.2f} {:<5} {:>+6.1f} {}\n", score.split.name,
                 row.what, p.predicted, p.measured, unit, error, relative ? "%" : "pp");
    }
  };
  print(score.values, score.unit.c_str(), true);
  print(score.tpots, "ms", true);
  print(score.gains, "%", false);
}

Json number(double value) {
  return std::isnan(value) ? Json() : Json(value);
}

Json json_of(const SplitScore& score) {
  const ErrorSummary e = score.errors();
  Json json{{"split", score.split.name},  {"use", score.split.use},
            {"of", score.unit},           {"n", e.n},
            {"left_out", score.doubtful}, {"mape", number(e.mean)},
            {"median", number(e.median)}, {"p90", number(e.p90)},
            {"worst", number(e.worst)},   {"covered", number(e.covered)}};
  if (!score.tpots.empty()) json["tpot_mape"] = number(score.tpot_errors().mean);
  if (score.gains.empty()) return json;
  const GainSummary g = score.gain_errors();
  json["gain"] = {{"n", g.n},
                  {"mean", number(g.mean)},
                  {"worst", number(g.worst)},
                  {"sign", number(g.sign_right)},
                  {"covered", number(g.covered)},
                  {"no_gain", number(g.no_gain)},
                  {"nearest", number(g.nearest_gain)}};
  return json;
}

void print_tables(const ValidationSpec& spec, const std::vector<SplitScore>& scores) {
  fmt::print("Predicted beside published; splits frozen {}, {} rows moved since.\n", spec.frozen,
             spec.moved.size());
  for (const MovedRow& row : spec.moved)
    fmt::print("  {} {}: moved to fit {}, {}\n", row.split, row.rows, row.date, row.reason);
  print_errors(scores);
  print_gains(scores);
  print_goals(scores);
}

}  // namespace

int validate_simulator(const ValidateOptions& options) {
  const std::filesystem::path configs = configs_dir();
  const std::filesystem::path folder =
      options.folder.empty() ? configs / "validation" : options.folder;
  const ValidationSpec spec = read_validation(folder);
  const std::vector<SplitScore> scores = score_splits(spec, folder, configs, options.what_if);
  if (!options.json) print_tables(spec, scores);
  if (!options.json && options.rows) fmt::print("\nRows: predicted, published, error\n");
  bool broken = false;
  for (const SplitScore& score : scores) {
    if (options.json) fmt::print("{}\n", json_of(score).dump());
    if (!options.json && options.rows) print_rows(score);
    for (const std::string& text : score.broken()) {
      fmt::print(stderr, "lost: {}\n", text);
      broken = true;
    }
  }
  return broken ? 1 : 0;
}

}  // namespace fse
