#include "experiments/dispatch_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <memory>
#include <set>

#include "core/error.h"
#include "experiments/dispatch_tables.h"
#include "reports/columns.h"

namespace fse {
namespace {

struct Asked {
  std::string db, regret = "2%", routing = "uniform";
  std::vector<std::string> filter;
  int tokens = 0;  // 0: the table, not an answer
  bool tiles = false, costs = false, json = false, csv = false, md = false;

  GridFormat format() const {
    return json  ? GridFormat::json
           : csv ? GridFormat::csv
           : md  ? GridFormat::md
                 : GridFormat::table;
  }
  bool for_programs() const { return json || csv; }
};

void append(Grid& all, Grid more) {
  if (all.columns.empty()) all.columns = more.columns;
  all.rows.insert(all.rows.end(), more.rows.begin(), more.rows.end());
}

std::vector<std::string> kernels_of(const LayerDispatch& layers) {
  std::set<std::string> names;
  for (const DispatchLayer& l : layers.layers)
    for (const StepTime& s : l.attempt.steps) names.insert(s.kernel);
  return {names.begin(), names.end()};
}

int print_answer(const Store& store, const std::vector<Dispatched>& all, const Asked& asked) {
  if (all.size() > 1) {
    std::string which;
    for (const Dispatched& d : all) which += "\n  " + dispatch_title(d);
    fail_usage("--tokens asks one layer's table, and the filter takes several:" + which +
               "\nexpected conditions that hold for one (model=, dtype=, environment=, ...)");
  }
  const Dispatched& d = all.front();
  const Freshness fresh = freshness_of(d.environment, kernels_of(d.layers));
  Looked found = look_up_layer(store, d, asked.tokens, asked.routing, fresh);
  const bool known = found.answer.trust == DispatchClass::exact ||
                     found.answer.trust == DispatchClass::interpolated;
  if (!asked.for_programs())
    fmt::print("{}\n\n{}: {}\nvariant: {}\n\n", dispatch_title(d), to_name(found.answer.trust),
               found.answer.why, found.variant);
  Grid grid = std::move(found.steps);
  if (asked.for_programs()) {
    grid.columns.insert(grid.columns.begin(), {"answer", "why", "tokens", "routing", "variant"});
    for (auto& row : grid.rows)
      row.insert(row.begin(), {to_name(found.answer.trust), found.answer.why, int64_t{asked.tokens},
                               asked.routing, found.variant});
    grid = with_layer(d, std::move(grid));
  }
  fmt::print("{}", to_text(grid, asked.format()));
  return known ? 0 : 1;
}

void print_section(const Asked& asked, const std::string& heading, const Grid& grid) {
  fmt::print("{}{}\n\n{}\n", asked.md ? "### " : "", heading, to_text(grid, asked.format()));
}

int print_tables(const Store& store, const std::vector<Dispatched>& all, const Asked& asked) {
  Grid joined;
  bool reached = true;
  for (const Dispatched& d : all) {
    reached = reached && d.table.reached;
    if (asked.for_programs()) {
      append(joined, with_layer(d, asked.tiles   ? tile_grid(store, d)
                                   : asked.costs ? cost_grid(d)
                                                 : row_grid(d)));
      continue;
    }
    fmt::print("{}{}\n\n{}\n\n", asked.md ? "## " : "", dispatch_title(d), dispatch_summary(d));
    print_section(asked, "What to run, by tokens per expert", row_grid(d));
    print_section(asked, "Size against regret", cost_grid(d));
    if (asked.tiles) print_section(asked, "Kernels and tiles", tile_grid(store, d));
  }
  if (asked.for_programs()) fmt::print("{}", to_text(joined, asked.format()));
  return reached ? 0 : 1;
}

int dispatch(const Asked& asked) {
  const double most = read_regret(asked.regret);
  const Store store = Store::open_read_only(asked.db);
  const std::vector<Dispatched> all = dispatch_layers(store, parse_filter(asked.filter), most);
  return asked.tokens > 0 ? print_answer(store, all, asked) : print_tables(store, all, asked);
}

void add_formats(CLI::App* verb, Asked& asked) {
  CLI::Option* json = verb->add_flag("--json", asked.json, "An array of objects, all digits");
  CLI::Option* csv = verb->add_flag("--csv", asked.csv, "RFC 4180, all digits");
  CLI::Option* md = verb->add_flag("--md", asked.md, "Markdown tables");
  json->excludes(csv)->excludes(md);
  csv->excludes(md);
}

}  // namespace

double read_regret(const std::string& text) {
  char* end = nullptr;
  const double percent = std::strtod(text.c_str(), &end);
  const bool whole = end != text.c_str() && (*end == '\0' || std::string_view(end) == "%");
  if (!whole || !(percent >= 0) || percent > 1000)
    fail_usage(fmt::format("--regret '{}', expected a percentage from 0 to 1000: 2%", text));
  return percent / 100;
}

void add_dispatch_verb(CLI::App& db, const std::function<void(std::function<int()>)>& choose) {
  const auto asked = std::make_shared<Asked>();
  CLI::App* verb =
      db.add_subcommand("dispatch", "Which variant and tiles to run, by tokens per expert");
  verb->add_option("filter", asked->filter, "Conditions, e.g. model=qwen3-next dtype=bf16");
  verb->add_option("--db", asked->db, "A database that `run` wrote")->required();
  verb->add_option("--regret", asked->regret,
                   "The table is the smallest whose answers lose at most this at held-out points")
      ->capture_default_str();
  CLI::Option* tokens =
      verb->add_option("--tokens", asked->tokens, "Ask the table for this token count")
          ->check(CLI::Range(1, 1 << 24));
  verb->add_option("--routing", asked->routing, "With --tokens: the regime, e.g. zipf(1.2)")
      ->needs(tokens)
      ->capture_default_str();
  CLI::Option* tiles = verb->add_flag("--tiles", asked->tiles, "Kernels and tiles of every step");
  CLI::Option* costs = verb->add_flag(
      "--costs", asked->costs, "With --json or --csv: size against regret instead of the table");
  tiles->excludes(costs)->excludes(tokens);
  costs->excludes(tokens);
  add_formats(verb, *asked);
  verb->footer(
      column_help("dispatch") + column_help("dispatch --costs") + column_help("dispatch --tiles") +
      column_help("dispatch --tokens") +
      "With --json and --csv they stand behind model, dtype, activations, tp, cache, device,\n"
      "product and environment.\n"
      "Regret is what a choice takes over the fastest of that token count and routing, in the "
      "same\n"
      "rounds. Every token count but the first and last is held out in turn: the table is made\n"
      "without it and asked for it. Rows begin where two choices' times cross between two token\n"
      "counts. An answer is exact, interpolated, stale (kernels or compilers are others by now) "
      "or\n"
      "default (not measured, or on another device). Exit 1: the regret is above what was asked\n"
      "for; with --tokens: the answer is stale or default.\n"
      "Example: fselab db dispatch --db results.db model=qwen3-next dtype=bf16 --tiles\n"
      "         fselab db dispatch --db results.db model=qwen3-next dtype=bf16 --tokens 12");
  verb->callback([asked, choose] { choose([asked] { return dispatch(*asked); }); });
}

}  // namespace fse
